package watermillkafka

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

func TestValidateNamesTheBadValue(t *testing.T) {
	t.Parallel()
	if err := (Options{}).Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	for want, o := range map[string]Options{
		`broker "kafka"`:    {Brokers: []string{"kafka"}},
		"in_flight -1":      {InFlight: -1},
		"replicas -2":       {Replicas: -2},
		"commit_interval":   {CommitInterval: -1},
		"session_timeout":   {SessionTimeout: value.Duration(time.Millisecond)},
		"max_body":          {MaxBody: 10},
		"cert and key":      {TLS: TLS{Key: "k.pem"}},
		"user and password": {SASL: SASL{User: "agents"}},
	} {
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestAWrongAddressIsClearAtStart(t *testing.T) {
	t.Parallel()
	o := Options{Brokers: []string{"127.0.0.1:1"}, ConnectTimeout: value.Duration(300 * time.Millisecond)}
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") ||
		!strings.Contains(err.Error(), "connect_timeout") {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestATopicThatIsRequiredAndMissing(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedKafka(t).Addrs, Options{Require: true})
	if err := d.Publish(t.Context(), "no.such.topic", []*driver.Message{keyed("", "1")}); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("Publish: %v", err)
	}
	if _, err := d.Subscribe(t.Context(), driver.Subscription{Topic: "no.such.topic", Group: "g"}); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("Subscribe: %v", err)
	}
}

func TestInspectLooksAtTopics(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedKafka(t).Addrs, Options{})
	there := topic(t, d, 2)
	found, err := d.Inspect(t.Context(), driver.Use{Writes: []string{there}, Reads: []driver.Reading{{Topic: "no.such.topic"}}})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range found {
		all = append(all, f.Subject+" "+f.Check+" "+f.Level.String())
	}
	want := []string{"topic " + there + " topic ok", "topic " + there + " min.insync.replicas warning", "topic no.such.topic topic ok"}
	slices.Sort(all)
	slices.Sort(want)
	if !slices.Equal(all, want) {
		t.Errorf("found %q, want %q", all, want)
	}
}

// The brokers' own topics are nobody's business, also once a group has made them.
func TestTopicsLeavesOutTheBrokersOwn(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedKafka(t).Addrs, Options{})
	there := topic(t, d, 1)
	join(t, d, there, 1)
	topics, err := d.Topics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	listed := false
	for _, has := range topics {
		listed = listed || has.Name == there
		if strings.HasPrefix(has.Name, "__") {
			t.Errorf("it lists %s", has.Name)
		}
	}
	if !listed {
		t.Errorf("%s is not in %+v", there, topics)
	}
}
