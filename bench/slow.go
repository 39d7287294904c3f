package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport/memory"
)

const slowHandlers = 10_000

func slowRows() []row {
	return []row{
		{
			name: "10,000 handlers of 1 s", shape: "in flight in one process", unit: "completions/s", goal: "≥ 9,900",
			single: inChild("slow-rate"),
		},
		{
			name: "10,000 handlers of 1 s, resident", shape: "in flight in one process", unit: "MB", goal: "≤ 200",
			single: inChild("slow-memory"),
		},
	}
}

// slow keeps 10,000 handlers busy for some seconds. It answers completions per
// second and the resident memory in megabytes.
func slow(ctx context.Context) (rate, resident float64, err error) {
	var finished atomic.Int64
	agent := config.Agent{}
	agent.Concurrency, agent.Window = slowHandlers, slowHandlers+slowHandlers/8
	// The queue is kept short: it is the handlers that are measured.
	cfg := &config.Config{Transports: map[string]config.Transport{"memory": {Options: memory.Options{Capacity: 2 * slowHandlers}}}}
	a, err := startApp(ctx, anywire.Options{Config: cfg}, agent, func(a *anywire.App) {
		a.HandleEnvelope("sink", func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
			timer := time.NewTimer(time.Second)
			defer timer.Stop()
			select {
			case <-timer.C:
				finished.Add(1)
				return nil, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
	})
	if err != nil {
		return 0, 0, err
	}
	t, err := a.Transport("memory")
	if err != nil {
		return 0, 0, err
	}
	// Handlers begin spread over a second, as in a program that has run for a while.
	// What is timed is whole rounds of all of them, from the end of the second to the
	// end of the seventh.
	const first, last = 2 * slowHandlers, 7 * slowHandlers
	publishing, stop := context.WithCancel(ctx)
	defer stop()
	published := make(chan error, 1)
	go func() {
		for range 100 {
			err := publishAll(publishing, t, slowHandlers/100, 64, noKey)
			if err = errors.Join(err, sleep(publishing, 10*time.Millisecond)); err != nil {
				published <- err
				return
			}
		}
		published <- publishAll(publishing, t, last+slowHandlers, 64, noKey)
	}()
	began, err := reached(ctx, &finished, first)
	if err != nil {
		return 0, 0, err
	}
	ended, err := reached(ctx, &finished, last)
	if err != nil {
		return 0, 0, err
	}
	rate = (last - first) / ended.Sub(began).Seconds()
	resident, err = residentMB()
	stop()
	<-published
	a.Close()
	<-a.done
	return rate, resident, err
}

// reached waits until n handlers have finished, and says when that was.
func reached(ctx context.Context, finished *atomic.Int64, n int64) (time.Time, error) {
	for finished.Load() < n {
		if err := sleep(ctx, time.Millisecond); err != nil {
			return time.Time{}, err
		}
	}
	return time.Now(), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
