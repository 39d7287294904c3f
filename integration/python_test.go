package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// line is what python/client.py reads and writes.
type line struct {
	Topic      string            `json:"topic,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Headers    map[string]string `json:"headers,omitempty"`
	Body       []byte            `json:"body"`
}

// pythonClient is a program in Python with the broker's own client library, which
// knows docs/wire.md and nothing of ours.
type pythonClient struct {
	interpreter string
	env         []string
	broker, url string
	prefix      string
}

func newPythonClient(t *testing.T, b *broker, server *brokertest.Server, prefix string) *pythonClient {
	t.Helper()
	interpreter, env := brokertest.Python(t, "redis==8.1.0", "confluent-kafka==2.16.1", "nats-py==2.16.0")
	return &pythonClient{interpreter, env, b.server(), server.URL, prefix}
}

func (c *pythonClient) run(t *testing.T, input []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.interpreter, append([]string{"python/client.py", c.broker, c.url}, args...)...)
	cmd.Env, cmd.Stdin, cmd.Stderr = c.env, bytes.NewReader(input), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("client.py %s %s: %v", c.broker, strings.Join(args, " "), err)
	}
	return out
}

func (c *pythonClient) send(t *testing.T, lines []line) {
	t.Helper()
	var input bytes.Buffer
	for _, l := range lines {
		l.Topic = c.prefix + l.Topic
		if err := json.NewEncoder(&input).Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	c.run(t, input.Bytes(), "send")
}

func (c *pythonClient) read(t *testing.T, topic string, n int) []line {
	t.Helper()
	var found []line
	lines := bufio.NewScanner(bytes.NewReader(c.run(t, nil, "read", c.prefix+topic, fmt.Sprint(n))))
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatalf("%q: %v", lines.Bytes(), err)
		}
		found = append(found, l)
	}
	if len(found) < n {
		t.Fatalf("client.py read %d messages of %s, want %d", len(found), topic, n)
	}
	return found
}

const (
	pythonShards   = 3
	pythonMessages = 40
)

// TestPythonClients: clients in another language publish to an agent, read what it
// makes of that, and what they get wrong is a dead letter; their keys land on the
// shards that ours do.
func TestPythonClients(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, b *broker) {
		t.Helper()
		server := b.shared(t)
		w := b.world(t, server)
		c := newPythonClient(t, b, server, w.entry.Prefix)
		var seen journal[string]
		order := keyed(t, b.name, w.caps)
		app := pythonApp(w, order, &seen)
		run(t, app)
		await(t, "the agent runs", func() bool { return app.Health().Ready })

		good, broken := pythonGood(), pythonBroken(b.server())
		c.send(t, append(append(append([]line{}, good[:10]...), broken...), good[10:]...))
		checkPythonOutputs(t, good, c.read(t, "py.out", len(good)))
		checkPythonDead(t, broken, c.read(t, "py.agent.dead", len(broken)))
		if order == "key" {
			checkPythonOrder(t, seen.all())
			checkPythonShards(t, app)
		}
	})
}

func pythonApp(w *world, order string, seen *journal[string]) *anywire.App {
	c := &config.Config{Agents: map[string]config.Agent{
		"py.agent": {Consumes: "py.in", Produces: "py.out", Order: order},
	}}
	if order == "key" {
		c.Topics = map[string]config.Topic{"py.in": {Shards: pythonShards}}
	}
	app := anywire.New(w.options(c))
	anywire.Handle(app, "py.agent", func(ctx context.Context, j Job) (Half, error) {
		seen.note(fmt.Sprintf("%s %d", j.Key, j.N))
		return Half{Key: j.Key, N: j.N, Do: anywire.Envelope(ctx).Subject}, nil
	})
	return app
}

// pythonGood are jobs of five keys, numbered.
func pythonGood() []line {
	lines := make([]line, pythonMessages)
	for i := range lines {
		key := fmt.Sprintf("schlüssel-%d", i%5)
		lines[i] = line{Topic: "py.in", Body: fmt.Appendf(nil, `{"Key":%q,"N":%d}`, key, i), Attributes: map[string]string{
			"specversion": "1.0", "id": fmt.Sprintf("py-%d", i), "source": "/python", "type": "it.job", "schemaversion": "1",
			"partitionkey": key, "subject": "Euro € 😀 100 %", "datacontenttype": "application/json", "correlationid": "talk",
		}}
	}
	return lines
}

// pythonBroken are messages that nobody can read.
func pythonBroken(broker string) []line {
	prefix := "ce_"
	if broker == "nats" {
		prefix = "ce-"
	}
	broken := func(body string, headers map[string]string) line {
		named := map[string]string{}
		for name, value := range headers {
			named[prefix+name] = value
		}
		return line{Topic: "py.in", Headers: named, Body: []byte(body)}
	}
	lines := []line{
		broken("no id", map[string]string{"specversion": "1.0", "source": "/p", "type": "it.job"}),
		broken("old", map[string]string{"specversion": "0.3", "id": "1", "source": "/p", "type": "it.job"}),
		broken("bad version", map[string]string{"specversion": "1.0", "id": "2", "source": "/p", "type": "it.job", "schemaversion": "one"}),
		broken("stranger", map[string]string{}),
	}
	lines[3].Headers = map[string]string{"X-Other": "1"}
	return lines
}

func checkPythonOutputs(t *testing.T, sent, got []line) {
	t.Helper()
	byCause := map[string]line{}
	for _, l := range got {
		byCause[l.Attributes["causationid"]] = l
	}
	for _, s := range sent {
		l, ok := byCause[s.Attributes["id"]]
		if !ok {
			t.Errorf("nothing was made of %s", s.Attributes["id"])
			continue
		}
		for name, want := range map[string]string{
			"specversion": "1.0", "type": "it.half", "schemaversion": "1", "source": "/agents/py.agent", "correlationid": "talk",
			"partitionkey": s.Attributes["partitionkey"], "datacontenttype": "application/json", "hops": "1",
		} {
			if l.Attributes[name] != want {
				t.Errorf("output of %s: %s is %q, want %q", s.Attributes["id"], name, l.Attributes[name], want)
			}
		}
		var half Half
		if err := json.Unmarshal(l.Body, &half); err != nil || half.Do != s.Attributes["subject"] {
			t.Errorf("output of %s: %s, %v", s.Attributes["id"], l.Body, err)
		}
		if _, err := time.Parse(time.RFC3339Nano, l.Attributes["time"]); err != nil {
			t.Errorf("output of %s: %v", s.Attributes["id"], err)
		}
	}
}

func checkPythonDead(t *testing.T, sent, got []line) {
	t.Helper()
	for _, s := range sent {
		found := false
		for _, l := range got {
			if bytes.Equal(l.Body, s.Body) {
				found = l.Attributes["dlreason"] == "invalid" && l.Attributes["type"] == "anywire.raw" && l.Attributes["dlheaders"] != ""
			}
		}
		if !found {
			t.Errorf("no dead letter of %q among %v", s.Body, got)
		}
	}
}

// checkPythonOrder: messages of one key are handled as they were sent.
func checkPythonOrder(t *testing.T, seen []string) {
	t.Helper()
	last := map[string]int{}
	for _, s := range seen {
		key, text, _ := strings.Cut(s, " ")
		var n int
		if _, err := fmt.Sscan(text, &n); err != nil {
			t.Fatal(err)
		}
		if was, ok := last[key]; ok && n < was {
			t.Errorf("key %s: %d came after %d", key, n, was)
		}
		last[key] = n
	}
}

func checkPythonShards(t *testing.T, app *anywire.App) {
	t.Helper()
	withKey := 0
	err := reader(t, app).Browse(t.Context(), "py.in", driver.Start{}, false, func(d *transport.Delivery) bool {
		if d.Envelope != nil {
			withKey++
			if want := driver.ShardOf(d.Envelope.Key, pythonShards); d.Raw.Shard != want {
				t.Errorf("key %s is on shard %d, want %d", d.Envelope.Key, d.Raw.Shard, want)
			}
		}
		return true
	})
	if err != nil || withKey < pythonMessages {
		t.Errorf("%d messages with a key on the topic: %v", withKey, err)
	}
}
