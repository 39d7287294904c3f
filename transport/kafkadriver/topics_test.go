package kafkadriver

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

func TestEnsureTopicKeepsWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	d := shared(t)
	spec := driver.Topic{Name: unique(t), Shards: 3, RetentionAge: 36 * time.Hour, RetentionBytes: 1000, Replicas: 1}
	for range 2 {
		got, err := d.EnsureTopic(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if got.Shards != 3 || got.RetentionAge != spec.RetentionAge || got.Replicas != 1 || got.RetentionBytes != 1002 {
			t.Errorf("got %+v", got)
		}
	}
	for want, other := range map[string]driver.Topic{
		"partitions is 3 on the broker and 4 here":  {Name: spec.Name, Shards: 4},
		"age is 1d12h on the broker and 1h here":    {Name: spec.Name, RetentionAge: time.Hour},
		"age is 1d12h on the broker and without":    {Name: spec.Name, RetentionAge: -1},
		"bytes is 1002 on the broker and 5000 here": {Name: spec.Name, RetentionBytes: 5000},
		"replicas is 1 on the broker and 3 here":    {Name: spec.Name, Replicas: 3},
	} {
		if _, err := d.EnsureTopic(t.Context(), other); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestNamesThatCollide(t *testing.T) {
	t.Parallel()
	d := shared(t)
	name := unique(t)
	if _, err := d.EnsureTopic(t.Context(), driver.Topic{Name: name + ".a"}); err != nil {
		t.Fatal(err)
	}
	_, err := d.EnsureTopic(t.Context(), driver.Topic{Name: name + "_a"})
	if err == nil || !strings.Contains(err.Error(), "differ in") || !strings.Contains(err.Error(), name+".a") {
		t.Errorf("error %v", err)
	}
}

func TestRequiredTopics(t *testing.T) {
	t.Parallel()
	d, _ := open(t, shared(t).o.Brokers, func(o *Options) { o.Require = true })
	name := unique(t)
	_, ensure := d.EnsureTopic(t.Context(), driver.Topic{Name: name})
	publish := d.Publish(t.Context(), name, []*driver.Message{{}})
	_, subscribe := d.Subscribe(t.Context(), driver.Subscription{Topic: name, Group: name, Window: 1, Lease: time.Second})
	for _, err := range []error{ensure, publish, subscribe} {
		if !errors.Is(err, driver.ErrNotFound) || !strings.Contains(err.Error(), name) {
			t.Errorf("a missing topic that is required: %v", err)
		}
	}
}

func TestNamesThatKafkaDoesNotTake(t *testing.T) {
	t.Parallel()
	d := shared(t)
	_, ensure := d.EnsureTopic(t.Context(), driver.Topic{Name: "a b"})
	publish := d.Publish(t.Context(), "a b", []*driver.Message{{}})
	browse := d.Browse(t.Context(), "a b", driver.Start{}, false, nil)
	for _, err := range []error{ensure, publish, browse} {
		if err == nil || !strings.Contains(err.Error(), `' ' cannot stand in a topic's name`) {
			t.Errorf("error %v", err)
		}
	}
}
