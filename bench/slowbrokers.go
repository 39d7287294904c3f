package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

const (
	slowOnBroker  = 5_000
	slowKeys      = 100_000
	backlogOnDisk = 2_000_000
)

// brokerRows are those that every broker has: slow handlers, and a consumer
// before a long backlog.
func brokerRows(name string, open opener) []row {
	return []row{
		{
			name: name + ", 5,000 handlers of 1 s", shape: "order by key, 100,000 keys, 4 shards", unit: "completions/s", goal: "≥ 4,800",
			once: true, single: func(ctx context.Context) (float64, error) { return slowKeyed(ctx, open) },
		},
		{
			name: name + ", resident memory grown", shape: "by consuming a backlog of 2 M", unit: "MB", goal: "flat",
			once: true, single: inChild("backlog-" + name),
		},
	}
}

// slowKeyed keeps 5,000 handlers busy in one process and answers completions per
// second.
func slowKeyed(ctx context.Context, open opener) (rate float64, err error) {
	d, err := open(ctx)
	if err != nil {
		return 0, err
	}
	t := transport.New(d, &transport.Options{OwnsDriver: true})
	defer func() { err = errors.Join(err, t.Close(context.WithoutCancel(ctx))) }()
	topic := fresh()
	if _, err := t.EnsureTopic(ctx, driver.Topic{Name: topic, Shards: 4}); err != nil {
		return 0, err
	}
	const first, last = 2 * slowOnBroker, 7 * slowOnBroker
	if err := publishKeyed(ctx, t, topic, last+2*slowOnBroker); err != nil {
		return 0, err
	}
	var started, finished atomic.Int64
	subscribed, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- t.Subscribe(subscribed, topic, func(ctx context.Context, _ *transport.Delivery) transport.Outcome {
			wait := time.Second
			if n := started.Add(1); n <= slowOnBroker {
				// The first ones end spread over a second, as in a program that has run
				// for a while.
				wait = time.Duration(n) * time.Second / slowOnBroker
			}
			if sleep(ctx, wait) != nil {
				return transport.HandBack()
			}
			finished.Add(1)
			return transport.Done()
		}, &transport.SubscribeOptions{
			Group: "sink", Order: transport.OrderKey, Concurrency: slowOnBroker, Window: slowOnBroker + slowOnBroker/4,
			DrainTimeout: 3 * time.Second,
		})
	}()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	began, err := reached(ctx, &finished, first)
	if err != nil {
		return 0, err
	}
	over, err := reached(ctx, &finished, last)
	return (last - first) / over.Sub(began).Seconds(), err
}

func publishKeyed(ctx context.Context, t *transport.Transport, topic string, n int) error {
	es := make([]*envelope.Envelope, 0, 256)
	for i := range n {
		if es = append(es, raw("key-"+text(i%slowKeys))); len(es) < cap(es) && i < n-1 {
			continue
		}
		if err := t.Publish(ctx, topic, es...); err != nil {
			return err
		}
		es = es[:0]
	}
	return nil
}

// backlog is how much the resident memory of a process grows between the first
// messages of a backlog of two million and the last.
func backlog(ctx context.Context, open opener) (grown float64, err error) {
	d, err := open(ctx)
	if err != nil {
		return 0, err
	}
	t := transport.New(d, &transport.Options{OwnsDriver: true})
	defer func() { err = errors.Join(err, t.Close(ctx)) }()
	topic := fresh()
	if _, err := t.EnsureTopic(ctx, driver.Topic{Name: topic}); err != nil {
		return 0, err
	}
	const publishers = 8
	if err := inParallel(publishers, func() error { return publishTo(ctx, t, topic, backlogOnDisk/publishers, 256) }); err != nil {
		return 0, err
	}
	var before atomic.Uint64
	var seen atomic.Int64
	all := newCounter(backlogOnDisk)
	stop := subscribe(ctx, t, topic, &transport.SubscribeOptions{Group: "sink", Window: window}, func() {
		if seen.Add(1) == backlogOnDisk/20 {
			if mb, err := residentMB(); err == nil {
				before.Store(uint64(mb * 1024))
			}
		}
		all.add()
	})
	err = all.wait(ctx)
	after, failed := residentMB()
	if before.Load() == 0 {
		failed = errors.Join(failed, errors.New("resident memory of this process is not known"))
	}
	return after - float64(before.Load())/1024, errors.Join(err, failed, stop())
}
