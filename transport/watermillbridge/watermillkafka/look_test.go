package watermillkafka

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

func TestSightings(t *testing.T) {
	t.Parallel()
	missing := fmt.Errorf("topic: %w", driver.ErrNotFound)
	away := errors.New("connection refused")
	for name, test := range map[string]struct {
		seen []sighting
		want bool // of the last one
	}{
		"there":                      {seen: []sighting{{id: "a"}, {id: "a"}}},
		"another one":                {seen: []sighting{{id: "a"}, {id: "b"}}, want: true},
		"missing once":               {seen: []sighting{{id: "a"}, {err: missing}}},
		"missing twice":              {seen: []sighting{{id: "a"}, {err: missing}, {err: missing}}, want: true},
		"missing now and then":       {seen: []sighting{{id: "a"}, {err: missing}, {id: "a"}, {err: missing}}},
		"missing, nobody knows":      {seen: []sighting{{id: "a"}, {err: missing}, {err: away}}},
		"another one after a while":  {seen: []sighting{{id: "a"}, {err: missing}, {err: away}, {id: "b"}}, want: true},
		"brokers away":               {seen: []sighting{{id: "a"}, {err: away}, {err: away}, {err: away}}},
		"never there":                {seen: []sighting{{err: missing}, {err: missing}, {err: missing}}},
		"made after the first looks": {seen: []sighting{{err: missing}, {err: missing}, {id: "a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s sightings
			var got bool
			for _, one := range test.seen {
				got = s.replaced(one)
			}
			if got != test.want {
				t.Errorf("replaced: %v, want %v", got, test.want)
			}
		})
	}
}

// TestTopicMadeAnew: where somebody deletes a topic, what is out of it is stale, its
// positions do not count in the next one of that name, and that has as many
// partitions.
func TestTopicMadeAnew(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedKafka(t).Addrs, quick())
	name := topic(t, d, 3)
	if err := d.Publish(t.Context(), name, []*driver.Message{keyed("k", "old")}); err != nil {
		t.Fatal(err)
	}
	src := join(t, d, name, 4)
	old := take(t, src, 1)
	if err := d.admin.DeleteTopic(name); err != nil {
		t.Fatal(err)
	}
	await(t, func() error { return d.Publish(t.Context(), name, []*driver.Message{keyed("k", "new")}) })
	await(t, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := src.Receive(ctx, 1)
		if !errors.Is(err, driver.ErrStale) {
			return fmt.Errorf("the source of the topic that was: %w", err)
		}
		return nil
	})
	if err := src.Settle(t.Context(), []driver.Settlement{{Token: old[0].Token}}); !errors.Is(err, driver.ErrStale) {
		t.Errorf("settle what came from the topic that was: %v", err)
	}
	if got := take(t, join(t, d, name, 4), 1)[0]; string(got.Body) != "new" {
		t.Errorf("the next subscription begins with %q", got.Body)
	}
	if has, err := d.describe(name); err != nil || has.Shards != 3 {
		t.Errorf("the topic that is there now: %+v, %v", has, err)
	}
}

// TestBrokersAway: a source says that brokers do not answer for as long as that is
// so.
func TestBrokersAway(t *testing.T) {
	t.Parallel()
	d, line := open(t, brokertest.SharedKafka(t).Addrs, quick())
	src := join(t, d, topic(t, d, 1), 1)
	ctx, cancel := context.WithTimeout(t.Context(), 2*lookEvery)
	defer cancel()
	if _, err := src.Receive(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("nothing is wrong: %v", err)
	}
	line.kill()
	ctx, cancel = context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 3 {
		if _, err := src.Receive(ctx, 1); err == nil || ctx.Err() != nil || errors.Is(err, driver.ErrStale) {
			t.Fatalf("the brokers are away: %v", err)
		}
	}
}

// await repeats what fails.
func await(t *testing.T, do func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := do()
		if err == nil {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}
