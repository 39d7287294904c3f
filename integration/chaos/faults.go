package chaos

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/anywire/anywire/internal/faultproxy"
)

// The faults that a run does to workers, the broker, and what is between them.
const (
	killWorker  = "kill a worker"
	killAll     = "kill all workers"
	endWorker   = "end a worker"
	pauseWorker = "stop a worker for longer than its lease"
	killBroker  = "kill the broker"
	pauseBroker = "stop the broker for longer than a lease"
	cutNetwork  = "cut connections"
	blackHole   = "swallow what is sent"
	noReplies   = "swallow replies"
	slowNetwork = "slow the network"
)

// The waits between faults.
const (
	firstWait = 500 * time.Millisecond
	lastWait  = 5 * time.Second
)

// faultsOf are those that a run can do, each as often as it should come.
func (r *run) faultsOf() []string {
	faults := []string{killWorker, killWorker, killWorker, endWorker, pauseWorker, killAll}
	if r.server != nil {
		faults = append(faults, killBroker, killBroker, pauseBroker)
	}
	if r.proxy != nil {
		faults = append(faults, cutNetwork, blackHole, noReplies, slowNetwork)
	}
	return faults
}

// tease does faults until ctx ends.
func (r *run) tease(ctx context.Context, seed uint64) {
	choice := rand.New(rand.NewPCG(seed, 1))
	faults := r.faultsOf()
	for pause(ctx, firstWait+time.Duration(choice.Int64N(int64(r.longestWait()-firstWait)))) == nil {
		fault := faults[choice.IntN(len(faults))]
		r.journal.note(Event{What: faulted, Detail: fault})
		r.do(ctx, fault, choice)
		r.journal.note(Event{What: healed, Detail: fault})
	}
}

func (r *run) longestWait() time.Duration {
	if r.plan.Brisk {
		return firstWait + time.Second
	}
	return lastWait
}

func (r *run) do(ctx context.Context, fault string, choice *rand.Rand) {
	one := r.workers[choice.IntN(len(r.workers))]
	hold := r.plan.Lease * 3 / 2
	switch fault {
	case killWorker:
		one.kill()
	case killAll:
		for _, w := range r.workers {
			w.kill()
		}
	case endWorker:
		one.end()
	case pauseWorker:
		one.pause(ctx, hold)
	case killBroker:
		r.server.Kill(r.tb)
		_ = pause(ctx, time.Duration(choice.Int64N(int64(time.Second))))
		r.server.Start(r.tb)
	case pauseBroker:
		r.server.Pause(r.tb)
		_ = pause(ctx, hold)
		r.server.Resume(r.tb)
	case cutNetwork:
		r.proxy.Cut()
	case blackHole:
		r.network(ctx, faultproxy.Faults{HoldRequests: true, HoldReplies: true}, hold)
	case noReplies:
		r.network(ctx, faultproxy.Faults{HoldReplies: true}, hold)
	case slowNetwork:
		r.network(ctx, faultproxy.Faults{Latency: 5 * time.Millisecond, Slice: 100}, time.Second)
	}
}

func (r *run) network(ctx context.Context, f faultproxy.Faults, d time.Duration) {
	r.proxy.Set(f)
	_ = pause(ctx, d)
	r.proxy.Set(faultproxy.Faults{})
}
