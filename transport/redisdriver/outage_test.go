package redisdriver

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// TestOutagesNeitherLoseNorDouble publishes from many goroutines, alone and in
// batches with keys that come again, while connections are cut and the server is
// killed. What was confirmed is there, and nothing is there twice: the driver sends
// no message again that the server may have.
func TestOutagesNeitherLoseNorDouble(t *testing.T) {
	t.Parallel()
	const publishers, cuts = 32, 30
	server := brokertest.Redis(t)
	d, proxy := behind(t, server, nil)
	topic := unique(t)
	ensureTopic(t, d, driver.Topic{Name: topic, Shards: 2})
	var mu sync.Mutex
	confirmed, failed := map[string]bool{}, 0
	stop := make(chan struct{})
	var group sync.WaitGroup
	for p := range publishers {
		group.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				msgs := numbered(p, n)
				errs := d.Publish(t.Context(), topic, msgs)
				mu.Lock()
				for i, m := range msgs {
					if failure(errs, i) == nil {
						confirmed[string(m.Body)] = true
					} else {
						failed++
					}
				}
				mu.Unlock()
			}
		})
	}
	progress := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(confirmed)
	}
	for cut := range cuts {
		before := progress()
		eventually(t, "publishing goes on", func() bool { return progress() > before+20 })
		proxy.Cut()
		if cut == cuts/2 {
			server.Kill(t)
			server.Start(t)
		}
	}
	close(stop)
	group.Wait()
	stored := map[string]int{}
	if err := d.Browse(patience(t), topic, driver.Start{}, false, func(m *driver.Message) bool {
		stored[string(m.Body)]++
		return true
	}); err != nil {
		t.Fatal(err)
	}
	for text := range confirmed {
		if stored[text] == 0 {
			t.Errorf("message %s was confirmed and is lost", text)
		}
	}
	for text, n := range stored {
		if n > 1 {
			t.Errorf("message %s is there %d times", text, n)
		}
	}
	t.Logf("%d messages confirmed, %d failed, %d stored", len(confirmed), failed, len(stored))
}

// numbered are a call's messages: one, or several of few keys.
func numbered(publisher, n int) []*driver.Message {
	msgs := make([]*driver.Message, 1+rand.IntN(2)*rand.IntN(8))
	for i := range msgs {
		msgs[i] = &driver.Message{Key: fmt.Sprint(i % 3), Body: fmt.Appendf(nil, "%d/%d/%d", publisher, n, i)}
	}
	return msgs
}

// failure is the error of message i of a call.
func failure(err error, i int) error {
	if some, ok := err.(driver.BatchError); ok { //nolint:errorlint // Publish returns it as it is
		return some[i]
	}
	return err
}
