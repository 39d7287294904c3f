package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/internal/faultproxy"
)

// TestDroppedReply: a publish whose confirmation is lost after the broker has
// stored the message makes no second one by itself. Whoever is told that it was
// stored finds it.
func TestDroppedReply(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, b *broker) {
		t.Helper()
		w, proxy := b.through(t, b.shared(t))
		app := anywireOf(t, w)
		publish(t, app, "jobs", Job{Key: "first", Do: "makes the topic"})
		var told journal[string]
		for round := range scale(3, 40) {
			dropped := proxy.DropReply(2, b.publishes(w.entry.Prefix+"jobs"))
			var group sync.WaitGroup
			for worker := range 4 {
				group.Go(func() {
					for n := 0; n < 10_000 && !isClosed(dropped); n++ {
						id := fmt.Sprintf("%d-%d-%d", round, worker, n)
						if app.Publish(t.Context(), "jobs", Job{N: n}, envelope.WithSubject(id), anywire.WithKey(id)) == nil {
							told.note(id)
						}
					}
				})
			}
			group.Wait()
			if !isClosed(dropped) {
				t.Fatal("no reply was dropped: the test shows nothing")
			}
		}
		stored := map[string]int{}
		for _, d := range browse(t, anywireOf(t, w), "jobs") {
			stored[d.Envelope.Subject]++
		}
		for id, n := range stored {
			if n > 1 {
				t.Errorf("message %s is there %d times", id, n)
			}
		}
		for _, id := range told.all() {
			if stored[id] == 0 {
				t.Errorf("message %s was confirmed and is not there", id)
			}
		}
		t.Logf("%d stored, %d confirmed", len(stored)-1, len(told.all()))
	})
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestBodyAtTheLimit: limits.body is the last size that passes, on every transport.
func TestBodyAtTheLimit(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			var sizes [2]atomic.Int64
			app := anywire.New(b.start(t).options(&config.Config{
				Limits: config.Limits{Body: limit},
				Agents: map[string]config.Agent{"reader": {Consumes: "jobs"}},
			}))
			anywire.Consume(app, "reader", func(_ context.Context, j Job) error {
				sizes[j.N].Store(int64(len(j.Do)))
				return nil
			})
			r := run(t, app)
			empty := len(`{"Key":"","N":0,"Do":""}`)
			for n, size := range []int{limit - 1 - empty, limit - empty} {
				publish(t, r.App, "jobs", Job{N: n, Do: strings.Repeat("x", size)})
				await(t, "it is handled", func() bool { return sizes[n].Load() == int64(size) })
			}
			err := r.Publish(t.Context(), "jobs", Job{N: 2, Do: strings.Repeat("x", limit+1-empty)})
			if !errors.Is(err, anywire.TooLarge) || !strings.Contains(err.Error(), "limits.body") {
				t.Errorf("one byte more: %v, want an error that names limits.body", err)
			}
		})
	}
}

// publishes matches the requests that store messages in a topic. Those of Kafka do
// not name it.
func (b *broker) publishes(topic string) func(request []byte) bool {
	if b.protocol == faultproxy.Kafka {
		return faultproxy.KafkaAPI(0)
	}
	command := faultproxy.Contains(map[faultproxy.Protocol]string{
		faultproxy.Redis: "\r\nxadd\r\n", faultproxy.NATS: "pub " + topic + " ",
	}[b.protocol])
	named := faultproxy.Contains(topic)
	return func(request []byte) bool { return command(request) && named(request) }
}
