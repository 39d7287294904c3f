package main

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/natsdriver/embedded"
)

// Everything that a broker has otherwise is a problem of the entry that says so.
func TestConnectFindsWhatDiffers(t *testing.T) {
	t.Parallel()
	l := onNATS(t, `
topics:
  tasks.research: { shards: 4 }
  tasks.old: { retention: { age: 1d } }
  tasks.must: { require: true }
agents:
  researcher: { consumes: tasks.research, produces: tasks.write }
  writer: { consumes: tasks.write, produces: none, group: writers }
  keeper: { consumes: tasks.old, produces: tasks.must }
`)
	tr := l.transport(t)
	for _, topic := range []driver.Topic{{Name: "tasks.research", Shards: 2}, {Name: "tasks.old"}} {
		if _, err := tr.EnsureTopic(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
	}
	nc, err := nats.Connect(l.url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.EnsureTopic(t.Context(), driver.Topic{Name: "tasks.write"}); err != nil {
		t.Fatal(err)
	}
	stream := strings.ReplaceAll(l.prefix+"tasks.write", ".", "~")
	if _, err := js.AddConsumer(stream, &nats.ConsumerConfig{
		Durable: strings.ReplaceAll(l.prefix+"writers", ".", "~"), AckPolicy: nats.AckExplicitPolicy, MaxDeliver: 3,
	}); err != nil {
		t.Fatal(err)
	}
	args := []string{"validate", "--connect"}
	r := l.call(args...)
	golden(t, "live/differs", l.scrubbed(args, r))
	if r.code != exitUsage {
		t.Errorf("exit %d", r.code)
	}
	var v verdict
	if r := l.call("validate", "--connect", "--json"); json.Unmarshal([]byte(r.out), &v) != nil || v.Valid || len(v.Problems) != 4 || r.code != exitUsage {
		t.Errorf("as JSON: exit %d\n%s", r.code, r.both())
	}
	for _, p := range v.Problems {
		if p.Line == 0 || p.Column == 0 || p.File == "" || p.Path == "" {
			t.Errorf("a problem without a place: %+v", p)
		}
	}
	if len(v.Reached) != 1 || v.Reached[0].Away {
		t.Errorf("reached %+v", v.Reached)
	}
}

func TestConnectChecksRights(t *testing.T) {
	t.Parallel()
	server := brokertest.NATS(t, `accounts { APP { jetstream: enabled, users: [
  { user: all, password: pw },
  { user: reader, password: pw, permissions: { publish: { deny: ["tasks.write", "$JS.ACK.>", "$JS.API.STREAM.CREATE.>"] } } } ] } }`)
	file := writeNew(t, fmt.Sprintf(`version: 1
transport: nats
transports:
  nats: { url: %q, user: reader, password: pw, monitoring: none }
agents:
  researcher: { consumes: tasks.research, produces: tasks.write }
`, server.URL))
	r := call("validate", "--connect", "-c", file)
	for _, want := range []string{
		"new.yaml:6:53: agents.researcher.produces: topic tasks.write, rights: user reader may not publish to tasks.write",
		"new.yaml:6:27: agents.researcher.consumes: topic tasks.research, rights: user reader may not publish to $JS.API.STREAM.CREATE.tasks~research",
		"user reader may not publish to $JS.ACK.tasks~research.researcher.>", // the second of one topic
		"allow the user to publish to tasks.write",
	} {
		if !strings.Contains(r.errs, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if r.code != exitUsage {
		t.Errorf("exit %d", r.code)
	}
	if t.Failed() {
		t.Log(r.both())
	}
	if r := call("doctor", "-c", file); r.code != exitFailed || !strings.Contains(r.out, "danger   topic tasks.write, rights: ") {
		t.Errorf("doctor: exit %d\n%s", r.code, r.both())
	}
}

// deadEnds are addresses at which there is no NATS server: nobody listens, or
// somebody who says nothing.
func deadEnds(t *testing.T) map[string]string {
	t.Helper()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = free.Close()
	return map[string]string{"silent": silent.Addr().String(), "closed": free.Addr().String()}
}

// Each command says which entry is at fault, soon, and exits with 1.
func TestABrokerThatIsAway(t *testing.T) {
	t.Parallel()
	for name, addr := range deadEnds(t) {
		l := onServer(t, "nats://"+addr, 200*time.Millisecond, liveAgents)
		for _, args := range [][]string{
			{"publish", "briefs", "--type", "a@1", "--data", "1"},
			{"tail", "briefs"},
			{"topics"},
			{"lag"},
			{"validate", "--connect"},
			{"doctor"},
			{"topics", "--json"},
			{"lag", "--json"},
			{"validate", "--connect", "--json"},
			{"doctor", "--json"},
		} {
			t.Run(name+" "+strings.Join(args, " "), func(t *testing.T) {
				t.Parallel()
				began := time.Now()
				r := l.call(args...)
				where := "new.yaml:4:3: transports.nats: connect to NATS at nats://" + addr
				if args[len(args)-1] == "--json" {
					where = "connect to NATS at nats://" + addr
					if !json.Valid([]byte(r.out)) || r.errs != "" {
						t.Errorf("no JSON, or more than that:\n%s", r.both())
					}
				}
				if r.code != exitFailed || strings.Count(r.both(), where) < 1 {
					t.Errorf("exit %d, want 1 and %q:\n%s", r.code, where, r.both())
				}
				if took := time.Since(began); took > 2*reachTimeout {
					t.Errorf("it took %v", took)
				}
			})
		}
	}
}

func TestMemoryIsOutOfReach(t *testing.T) {
	t.Parallel()
	file := writeNew(t, "version: 1\nagents: { clerk: { consumes: in, produces: out } }\n")
	for _, args := range [][]string{{"publish", "in", "--type", "a@1", "--data", "1"}, {"tail", "in"}} {
		r := call(append(args, "-c", file)...)
		if r.code != exitUsage || !strings.Contains(r.errs, `transport "memory" lives in the memory of the process that runs the agents`) {
			t.Errorf("%v: exit %d, %q", args, r.code, r.both())
		}
	}
	var all strings.Builder
	for _, args := range [][]string{{"topics"}, {"lag"}, {"validate", "--connect"}, {"doctor"}} {
		r := call(append(args, "-c", file)...)
		all.WriteString(r.transcript(args) + "\n")
	}
	golden(t, "live/memory", all.String())
}

func embeddedFile(t *testing.T, dir, more string) string {
	t.Helper()
	return writeNew(t, fmt.Sprintf(
		"version: 1\ntransport: embedded\ntransports:\n  embedded: { dir: %q%s }\nagents:\n  clerk: { consumes: in, produces: out }\n", dir, more))
}

// Nobody has run yet: nothing is made by looking, and publishing is possible.
func TestEmbeddedBeforeTheFirstRun(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	file := embeddedFile(t, dir, "")
	for args, want := range map[string]string{
		"topics":             "not yet",
		"lag":                "no group yet",
		"validate --connect": "does not exist yet",
		"doctor":             "does not exist yet",
	} {
		r := call(append(strings.Fields(args), "-c", file)...)
		if r.code != exitFine || r.errs != "" || !strings.Contains(r.out, want) {
			t.Errorf("%s: exit %d, want %q:\n%s", args, r.code, want, r.both())
		}
	}
	if r := call("tail", "in", "-c", file); r.code != exitFailed || !strings.Contains(r.errs, "does not exist yet") {
		t.Errorf("tail: exit %d, %s", r.code, r.both())
	}
	if found, _ := filepath.Glob(dir + "*"); len(found) > 0 {
		t.Fatalf("looking made %v", found)
	}
	call("publish", "in", "--type", "a@1", "--data", `{"n":1}`, "-c", file).must(t, "")
	if r := call("tail", "in", "--body", "-c", file).must(t, ""); !strings.Contains(r.out, `{"n":1}`) {
		t.Errorf("tail shows %q", r.out)
	}
}

// While the agents have the folder, commands attach where it listens, or say who
// has it.
func TestEmbeddedWhileItRuns(t *testing.T) {
	t.Parallel()
	listen := deadEnds(t)["closed"]
	for _, listens := range []bool{true, false} {
		dir, more := t.TempDir(), ""
		o := embedded.Options{Dir: dir}
		if listens {
			o.Listen, more = listen, fmt.Sprintf(", listen: %q", listen)
		}
		d, err := embedded.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close(t.Context()) })
		file := embeddedFile(t, dir, more)
		r := call("publish", "in", "--type", "a@1", "--data", "1", "-c", file)
		doctor := call("doctor", "-c", file)
		if listens {
			r.must(t, "")
			if r := call("tail", "in", "-c", file).must(t, ""); !strings.Contains(r.out, "a@1") {
				t.Errorf("tail shows %q", r.out)
			}
			doctor.must(t, "")
		} else {
			if r.code != exitFailed || !strings.Contains(r.errs, "is in use by process") || !strings.Contains(r.errs, "new.yaml:4:3") {
				t.Errorf("exit %d, %s", r.code, r.both())
			}
			if doctor.code != exitFine || !strings.Contains(doctor.out, "in use by another process") {
				t.Errorf("doctor: exit %d, %s", doctor.code, doctor.both())
			}
		}
		if !strings.Contains(doctor.out, "ok       "+dir+", sync: always") {
			t.Errorf("doctor does not know how it syncs:\n%s", doctor.both())
		}
	}
}
