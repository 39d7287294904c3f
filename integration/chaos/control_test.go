package chaos

import (
	"context"
	"testing"
	"time"
)

// TestControls breaks one mechanism each and does what it is there for: if the
// checker does not find it, the green runs prove nothing.
func TestControls(t *testing.T) { //nolint:tparallel // its subtests share the machine with each other only
	skipUnderRace(t)
	doubled := func(v *Verdict) int { return len(v.Doubled) }
	lost := func(v *Verdict) int { return len(v.Lost) }
	for name, control := range map[string]struct {
		faults func(ctx context.Context, r *run)
		found  func(v *Verdict) int
	}{
		noRecords:    {each(killing), doubled},
		ackFirst:     {each(killing), lost},
		markFirst:    {each(killing), lost},
		noTokens:     {each(pausing), doubled},
		startNewest:  {func(context.Context, *run) {}, lost},
		forgetBroker: {each(func(_ context.Context, r *run) { r.server.Kill(r.tb); r.server.Start(r.tb) }), lost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var v *Verdict
			for seed := range uint64(6) { // what has to be met is met by chance
				plan := Plan{
					Transport: redisKind, Seed: seed, For: 5 * time.Second, Lease: time.Second, Odds: oddsOf(name), Break: name,
					Faults: control.faults, LateWorkers: name == startNewest, Patience: 30 * time.Second,
				}
				if name == noTokens { // many slow handlers, on workers that each have a shard
					plan.Workers, plan.Keys, plan.Rate, plan.For = 2, 32, 10*time.Millisecond, 10*time.Second
				}
				v = Run(t, plan)
				t.Logf("%s:\n%v", name, v)
				if control.found(v) > 0 {
					return
				}
			}
			t.Errorf("the checker does not find what %q breaks", name)
		})
	}
}

// oddsOf are those of crashes: only where they show what is broken.
func oddsOf(name string) float64 {
	switch name {
	case noRecords, markFirst:
		return 1.0 / 50
	default:
		return -1
	}
}

// each repeats a fault until ctx ends.
func each(fault func(ctx context.Context, r *run)) func(ctx context.Context, r *run) {
	return func(ctx context.Context, r *run) {
		for pause(ctx, time.Second) == nil {
			fault(ctx, r)
		}
	}
}

func killing(_ context.Context, r *run) { r.workers[0].kill() }

func pausing(ctx context.Context, r *run) { r.workers[0].pause(ctx, 3*r.plan.Lease) }
