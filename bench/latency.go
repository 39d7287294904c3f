package main

import (
	"context"
	"slices"
	"time"

	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// publisherOf prepares a call that publishes one message and waits for the
// confirmation.
type publisherOf func(ctx context.Context) (publish func() error, done func(), err error)

const latencyMessages = 4000

// latencyRow compares how long one publisher waits for one confirmation.
func latencyRow(name string, ours opener, peer publisherOf, percentile int, goal string) row {
	return row{
		name: name + ", publish one and wait", shape: "one publisher, p" + text(percentile), unit: "µs", goal: goal, peer: "raw client",
		pair: both(waits(transportPublisher(ours), percentile), waits(peer, percentile)),
	}
}

func transportPublisher(open opener) publisherOf {
	return func(ctx context.Context) (publish func() error, done func(), err error) {
		d, err := open(ctx)
		if err != nil {
			return nil, nil, err
		}
		t := transport.New(d, &transport.Options{OwnsDriver: true})
		done = func() { _ = t.Close(ctx) } // what it has to say concerns no figure
		topic := fresh()
		if _, err := t.EnsureTopic(ctx, driver.Topic{Name: topic}); err != nil {
			done()
			return nil, nil, err
		}
		return func() error { return t.Publish(ctx, topic, raw("")) }, done, nil
	}
}

func waits(prepare publisherOf, percentile int) measurement {
	return func(ctx context.Context) (float64, error) {
		publish, done, err := prepare(ctx)
		if err != nil {
			return 0, err
		}
		defer done()
		took := make([]time.Duration, 0, latencyMessages)
		for i := range latencyMessages + latencyMessages/10 {
			began := time.Now()
			if err := publish(); err != nil {
				return 0, err
			}
			if i >= latencyMessages/10 { // what comes before warms up
				took = append(took, time.Since(began))
			}
		}
		slices.Sort(took)
		return float64(took[len(took)*percentile/100].Nanoseconds()) / 1e3, nil
	}
}

// cpuRow says how much processor time a message costs over the raw client, in
// the process that publishes and consumes it.
func cpuRow(name string, ours opener, n int, peer measurement) row {
	return row{
		name: name + ", processor time added", shape: "batches of 256", unit: "µs a message", goal: "≤ 2.5",
		single: func(ctx context.Context) (float64, error) {
			_, mine, err := pass(ctx, ours, n, 1, 256)
			if err != nil {
				return 0, err
			}
			before := processor()
			if _, err := peer(ctx); err != nil {
				return 0, err
			}
			theirs := processor() - before
			return float64((mine - theirs).Nanoseconds()) / 1e3 / float64(n), nil
		},
	}
}
