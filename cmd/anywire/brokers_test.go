package main

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// brokers are the transports that several processes share, by kind, with the
// options of their entry.
func brokers(t *testing.T) map[string]func(t *testing.T) string {
	t.Helper()
	return map[string]func(t *testing.T) string{
		"nats": func(t *testing.T) string {
			t.Helper()
			return fmt.Sprintf("url: %q, monitoring: none", brokertest.SharedNATS(t).URL)
		},
		"redis": func(t *testing.T) string {
			t.Helper()
			return fmt.Sprintf("url: %q", brokertest.SharedRedis(t).URL)
		},
		"kafka": func(t *testing.T) string {
			t.Helper()
			return fmt.Sprintf("brokers: [%s]", brokertest.SharedKafka(t).URL)
		},
	}
}

// Every command does the same on every broker.
func TestEveryBroker(t *testing.T) {
	t.Parallel()
	for kind, options := range brokers(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			l := on(t, kind, options(t), liveAgents)
			for _, step := range []struct {
				args string
				in   string
				code int
				want []string // patterns of the output, or of stderr where it fails
			}{
				{"topics", "", 0, []string{kind + ` +tasks.research +not yet +- +- +- +researcher`}},
				{"lag", "", 0, []string{`writer +writer +tasks.write +` + kind + ` +- +- +no group yet`}},
				{"validate --connect", "", 0, []string{`(?m)^valid: 2 agents on ` + kind, kind + `: reached; 0 topics there, 5 made on first use; it is durable, keeps order`}},
				{"tail tasks.write", "", 1, []string{`topic "tasks.write" does not exist on transport "` + kind + `" yet`}},
				{"publish task.write --type facts@1", `1`, 1, []string{`there is no topic "task.write" on transport "` + kind + `".*did you mean tasks.write\?`}},
				{"topics", "", 0, []string{`tasks.write +not yet`}}, // all that looked made none
				{"publish tasks.write --type facts@1 --key rivers", `{"n":1}`, 0, []string{`(?m)^[0-9a-f-]{36}$`}},
				{"publish tasks.write --type facts@1 --lines", "2\n\n3\n", 0, []string{`(?s)^[0-9a-f-]{36}\n[0-9a-f-]{36}\n$`}},
				{"publish tasks.research --type task@1 --lines -q", strings.Repeat("{}\n", 500), 0, nil},
				{"tail tasks.write --body", "", 0, []string{`(?s)facts@1  key=rivers  id=.*  7 B\n    \{"n":1\}\n.*\n    2\n.*\n    3\n$`}},
				{"tail tasks.write --from 1h -n 2", "", 0, []string{`^(.*\n){2}$`}},
				{"tail tasks.research --json", "", 0, []string{`^(\{"topic":"tasks.research".*"type":"task@1".*\n){500}$`}},
				{"topics", "", 0, []string{`tasks.research +yes +2 +7d`, `tasks.write +yes +1 +`, `briefs +not yet`}},
				{"validate --connect", "", 0, []string{`note: agent writer: group writer is new to topic tasks.write, which holds messages`}},
				{"doctor", "", 0, []string{kind + ` \(kind ` + kind + `\)`, `0 dangers`, `topic \S+tasks.write`}},
			} {
				r := l.callWith(step.in, strings.Fields(step.args)...)
				shown := r.out
				if step.code != exitFine {
					shown = r.errs
				}
				for _, want := range step.want {
					if !regexp.MustCompile(want).MatchString(shown) {
						t.Errorf("%s does not show %s", step.args, want)
					}
				}
				if r.code != step.code {
					t.Errorf("%s: exit %d, want %d", step.args, r.code, step.code)
				}
				if t.Failed() {
					t.Fatal(r.both())
				}
			}
		})
	}
}

// A group that reads is counted, and shards that differ are found, on every
// broker.
func TestEveryBrokersGroups(t *testing.T) {
	t.Parallel()
	for kind, options := range brokers(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			l := on(t, kind, options(t), liveAgents)
			l.callWith("1\n2\n3\n", "publish", "tasks.write", "--type", "a@1", "--lines", "-q")
			l.group(t, "tasks.write", "writer")
			lag := regexp.MustCompile(`writer +writer +tasks.write +` + kind + ` +3 +0 +[0-9]`)
			r := l.call("lag", "writer", "--max-waiting", "2")
			if !lag.MatchString(r.out) || r.code != exitFailed || !strings.Contains(r.errs, "writer: 3 messages are more than 2") {
				t.Errorf("lag: exit %d\n%s", r.code, r.both())
			}
			for _, spec := range []driver.Topic{{Name: "tasks.research", Shards: 3}, {Name: "writer.inbox"}, {Name: "anywire.delay.1s"}, {Name: "other"}} {
				if _, err := l.transport(t).EnsureTopic(t.Context(), spec); err != nil {
					t.Fatal(err)
				}
			}
			r = l.call("topics")
			for _, role := range []string{`writer.inbox .* writer \(retries\) +writer \(inbox\)`, `anywire.delay.1s .* all agents \(delays\)`, `other .*- \(not in the configuration\)`} {
				if !regexp.MustCompile(role).MatchString(r.out) {
					t.Errorf("topics does not show %s:\n%s", role, r.both())
				}
			}
			r = l.call("validate", "--connect")
			if r.code != exitUsage || !strings.Contains(r.errs, "new.yaml:7:29: topics.tasks.research.shards: ") || !strings.Contains(r.errs, "write shards: 3") {
				t.Errorf("validate --connect: exit %d\n%s", r.code, r.both())
			}
		})
	}
}

// What loses messages on Redis is a danger.
func TestDoctorOfRedisWithoutFiles(t *testing.T) {
	t.Parallel()
	server := brokertest.Redis(t, "appendonly no", "maxmemory 100mb", "maxmemory-policy allkeys-lru")
	l := on(t, "redis", fmt.Sprintf("url: %q", server.URL), liveAgents)
	r := l.call("doctor")
	for _, want := range []string{"danger   server, appendonly: no", "danger   server, maxmemory-policy: allkeys-lru", "fix: "} {
		if !strings.Contains(r.out, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if r.code != exitFailed || t.Failed() {
		t.Errorf("exit %d\n%s", r.code, r.both())
	}
	if r := l.call("validate", "--connect"); r.code != exitFine || !strings.Contains(r.out, "2 dangerous settings") || strings.Contains(r.out, "durable") {
		t.Errorf("validate --connect: exit %d\n%s", r.code, r.both())
	}
}

// Wrong addresses and passwords are told of soon, with the place of the entry.
func TestBrokersThatAreAway(t *testing.T) {
	t.Parallel()
	redis, err := url.Parse(brokertest.SharedRedis(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	redis.User = url.UserPassword("nobody", "hunter2")
	for name, c := range map[string]struct{ kind, options string }{
		"redis closed":   {"redis", fmt.Sprintf("url: %q", "redis://"+deadEnds(t)["closed"]+"/0")},
		"redis silent":   {"redis", fmt.Sprintf("url: %q", "redis://"+deadEnds(t)["silent"]+"/0")},
		"redis password": {"redis", fmt.Sprintf("url: %q", redis)},
		"kafka closed":   {"kafka", fmt.Sprintf("brokers: [%q]", deadEnds(t)["closed"])},
		"kafka silent":   {"kafka", fmt.Sprintf("brokers: [%q]", deadEnds(t)["silent"])},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := on(t, c.kind, c.options, liveAgents)
			began := time.Now()
			r := l.call("validate", "--connect")
			if took := time.Since(began); took > 2*reachTimeout {
				t.Errorf("it took %v", took)
			}
			if r.code != exitFailed || !strings.Contains(r.errs, "new.yaml:4:3: transports."+c.kind+": ") {
				t.Errorf("exit %d\n%s", r.code, r.both())
			}
			if strings.Contains(r.both(), "hunter2") {
				t.Errorf("the password is shown:\n%s", r.both())
			}
		})
	}
}
