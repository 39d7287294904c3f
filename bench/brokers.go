package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// servers are the brokers of a run, started when the first row asks for one.
type servers struct {
	mu   sync.Mutex
	urls map[string]string
	ours []string
}

// running holds processes that outlive a measurement, so main ends them.
var running servers //nolint:gochecknoglobals // one set of servers for the whole run

// url is the address of a broker: the one that the environment names, or of a
// local process.
func (s *servers) url(ctx context.Context, name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if url := s.urls[name]; url != "" {
		return url, nil
	}
	env := "ANYWIRE_TEST_" + strings.ToUpper(name)
	url := os.Getenv(env)
	if url == "" {
		var out, said bytes.Buffer
		if err := brokertest.Up(ctx, &out, &said, name); err != nil {
			return "", fmt.Errorf("%w\n%s", err, said.String())
		}
		s.ours = append(s.ours, name)
		_, url, _ = strings.Cut(strings.TrimSpace(out.String()), env+"=")
		if err := relax(ctx, name, url); err != nil {
			return "", err
		}
	}
	if s.urls == nil {
		s.urls = map[string]string{}
	}
	s.urls[name] = url
	return url, os.Setenv(env, url) // for the measurements in processes of their own
}

// relax gives a server of ours its own default of when it writes through to the
// disk: tests want more than that.
func relax(ctx context.Context, name, url string) error {
	if name != "redis" {
		return nil
	}
	o, err := redis.ParseURL(url)
	if err != nil {
		return fmt.Errorf("address of Redis: %w", err)
	}
	c := redis.NewClient(o)
	return errors.Join(c.ConfigSet(ctx, "appendfsync", "everysec").Err(), c.Close())
}

func (s *servers) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ours) == 0 {
		return nil
	}
	var said bytes.Buffer
	if err := brokertest.Down(&said, s.ours...); err != nil {
		return fmt.Errorf("%w\n%s", err, said.String())
	}
	return nil
}

// fresh is a name that no earlier measurement used.
func fresh() string { return "bench-" + strings.ReplaceAll(envelope.NewID(), "-", "") }

// opener connects a driver of ours to a broker.
type opener func(ctx context.Context) (driver.Driver, error)

// through measures n messages from publishing to settling: so many publishers
// that send batches each, and one subscription.
func through(open opener, n, publishers, batch int) measurement {
	return func(ctx context.Context) (float64, error) {
		took, _, err := pass(ctx, open, n, publishers, batch)
		return float64(n) / took.Seconds(), err
	}
}

// pass also answers what the processor spent, in this process.
func pass(ctx context.Context, open opener, n, publishers, batch int) (took, cpu time.Duration, err error) {
	d, err := open(ctx)
	if err != nil {
		return 0, 0, err
	}
	t := transport.New(d, &transport.Options{OwnsDriver: true})
	defer func() { err = errors.Join(err, t.Close(ctx)) }()
	topic := fresh()
	if _, err := t.EnsureTopic(ctx, driver.Topic{Name: topic}); err != nil {
		return 0, 0, err
	}
	handled, warm := newCounter(n+1), newCounter(1)
	stop := subscribe(ctx, t, topic, &transport.SubscribeOptions{Group: "sink", Window: window}, func() {
		warm.add()
		handled.add()
	})
	defer func() { err = errors.Join(err, stop()) }()
	// The first message waits for the group to be there; what comes after is timed.
	if err := t.Publish(ctx, topic, raw("")); err != nil {
		return 0, 0, err
	}
	if err := warm.wait(ctx); err != nil {
		return 0, 0, err
	}
	began, spent := time.Now(), processor()
	err = inParallel(publishers, func() error { return publishTo(ctx, t, topic, n/publishers, batch) })
	if err == nil {
		err = handled.wait(ctx)
	}
	return time.Since(began), processor() - spent, err
}

// subscribe runs a subscription until the answer is called.
func subscribe(
	ctx context.Context, t *transport.Transport, topic string, o *transport.SubscribeOptions, handled func(),
) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- t.Subscribe(ctx, topic, func(context.Context, *transport.Delivery) transport.Outcome {
			handled()
			return transport.Done()
		}, o)
	}()
	return func() error {
		cancel()
		return <-ended
	}
}

func publishTo(ctx context.Context, t *transport.Transport, topic string, n, batch int) error {
	es := make([]*envelope.Envelope, 0, batch)
	for i := range n {
		if es = append(es, raw("")); len(es) < batch && i < n-1 {
			continue
		}
		if err := t.Publish(ctx, topic, es...); err != nil {
			return err
		}
		es = es[:0]
	}
	return nil
}

// processor is what this process has spent so far.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// attributes are what an envelope carries, under the names that Kafka and Redis
// use.
func attributes() []driver.Header {
	id := envelope.NewID()
	return []driver.Header{
		{Name: "ce_specversion", Value: "1.0"},
		{Name: "ce_id", Value: id},
		{Name: "ce_source", Value: "/bench"},
		{Name: "ce_type", Value: "bench.message"},
		{Name: "ce_schemaversion", Value: "1"},
		{Name: "ce_time", Value: time.Now().UTC().Format(time.RFC3339Nano)},
		{Name: "content-type", Value: "application/json"},
		{Name: "ce_correlationid", Value: id},
		{Name: "ce_causationid", Value: id},
		{Name: "ce_hops", Value: "1"},
		{Name: "ce_subject", Value: "bench"},
	}
}
