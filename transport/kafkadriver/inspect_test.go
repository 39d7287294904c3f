package kafkadriver

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/anywire/anywire/transport/driver"
)

// found is the finding of a check on a subject.
func found(t *testing.T, findings []driver.Finding, check, subject string) driver.Finding {
	t.Helper()
	for _, f := range findings {
		if f.Check == check && f.Subject == subject {
			if (f.Level != driver.Good) != (f.Why != "" && f.Fix != "") {
				t.Errorf("%s of %s: level %v, why %q, fix %q", check, subject, f.Level, f.Why, f.Fix)
			}
			return f
		}
	}
	t.Errorf("nothing is said about %s of %s in %+v", check, subject, findings)
	return driver.Finding{}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	d := shared(t)
	fine, missing, group := topicOf(t, d, 1), unique(t), unique(t)
	compacted, small := unique(t), "2000"
	policy := "compact"
	if _, err := d.adm.CreateTopics(t.Context(), 1, 1, map[string]*string{"cleanup.policy": &policy, "max.message.bytes": &small}, compacted); err != nil {
		t.Fatal(err)
	}
	findings, err := d.Inspect(t.Context(), driver.Use{
		Writes: []string{fine, missing, compacted},
		Reads:  []driver.Reading{{Topic: fine, Group: group, Lease: time.Second}, {Topic: fine, Group: group + "-long", Lease: time.Hour}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		check, subject string
		level          driver.Level
		found          string
	}{
		{"version", "broker 1", driver.Good, "v4"},
		{"protocol", "server", driver.Good, "consumer"},
		{"unclean.leader.election.enable", "server", driver.Good, "false"},
		{"auto.create.topics.enable", "server", driver.Good, "false"},
		{"offsets.retention.minutes", "server", driver.Good, "7d"},
		{"rights", "topic " + fine, driver.Good, ""},
		{"min.insync.replicas", "topic " + fine, driver.Warning, "1, with 1 replicas"},
		{"replicas", "topic " + fine, driver.Good, ""},
		{"cleanup.policy", "topic " + fine, driver.Good, "delete"},
		{"topic", "topic " + missing, driver.Good, "missing"},
		{"cleanup.policy", "topic " + compacted, driver.Danger, "compact"},
		{"max.message.bytes", "topic " + compacted, driver.Warning, "2000"},
		{"group.consumer.session.timeout.ms", "group " + group, driver.Good, "6s"},
		{"group.consumer.session.timeout.ms", "group " + group + "-long", driver.Warning, "6s"},
		{"group", "group " + group, driver.Good, "new"},
	} {
		if f := found(t, findings, c.check, c.subject); f.Level != c.level || !strings.Contains(f.Found, c.found) {
			t.Errorf("%s of %s is %v, %q; want %v, %q", c.check, c.subject, f.Level, f.Found, c.level, c.found)
		}
	}
}

// Of three brokers, a topic on one of them is in danger, and one that a single
// replica confirms.
func TestInspectReplication(t *testing.T) {
	t.Parallel()
	d, _ := open(t, fakeBrokers(t, kfake.NumBrokers(3)), nil)
	for _, c := range []struct {
		replicas int
		level    driver.Level
	}{{1, driver.Danger}, {3, driver.Good}} {
		topic := driver.Topic{Name: unique(t), Replicas: c.replicas}
		if _, err := d.EnsureTopic(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
		findings, err := d.Inspect(t.Context(), driver.Use{Writes: []string{topic.Name}})
		if err != nil {
			t.Fatal(err)
		}
		if f := found(t, findings, minInSync, "topic "+topic.Name); f.Level != c.level {
			t.Errorf("with %d replicas: %+v", c.replicas, f)
		}
	}
}

// What was deleted before a group settled it is a loss that nobody noticed.
func TestInspectTellsOfDeletedMessages(t *testing.T) {
	t.Parallel()
	d := shared(t)
	topic, group := topicOf(t, d, 1), unique(t)
	if err := d.Publish(t.Context(), topic, []*driver.Message{{}, {}, {}}); err != nil {
		t.Fatal(err)
	}
	src, err := d.Subscribe(t.Context(), driver.Subscription{Topic: topic, Group: group, Ordered: true, Window: 1, Lease: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	msgs, err := src.Receive(patience(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Settle(t.Context(), []driver.Settlement{{Token: msgs[0].Token}}); err != nil {
		t.Fatal(err)
	}
	if err := src.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	deleteBefore(t, d, topic, 3)
	findings, err := d.Inspect(t.Context(), driver.Use{Reads: []driver.Reading{{Topic: topic, Group: group, Lease: time.Second}}})
	if err != nil {
		t.Fatal(err)
	}
	if f := found(t, findings, "retention", "group "+group+", topic "+topic); f.Level != driver.Danger || !strings.HasPrefix(f.Found, "2 ") {
		t.Errorf("found %+v", f)
	}
}
