package router_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/router"
	"github.com/anywire/anywire/transport"
)

var errDown = errors.New("the store is down")

// counting returns a handler that answers with one message, and how often it ran.
func counting() (envelope.Handler, *atomic.Int64) {
	runs := new(atomic.Int64)
	return func(_ context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
		runs.Add(1)
		return []*envelope.Envelope{{Type: "test.answer", SchemaVersion: 1, Data: in.Data}}, nil
	}, runs
}

// claim is a message's record, as another process would ask for it.
func (w *world) claim(in *envelope.Envelope, alone bool) idempotency.Verdict {
	w.Helper()
	v, err := w.memory.BeginOne(w.Context(), w.claimOf(in, alone))
	if err != nil {
		w.Fatal(err)
	}
	return v
}

func (w *world) claimOf(in *envelope.Envelope, alone bool) *idempotency.Claim {
	w.Helper()
	key, err := w.agent.Guard.Key(in)
	if err != nil {
		w.Fatal(err)
	}
	return &idempotency.Claim{
		Key: key, Fingerprint: in.Fingerprint(), Token: idempotency.NewToken(), Lease: time.Second, TTL: time.Hour, Alone: alone,
	}
}

func TestADuplicateIsHandledOnce(t *testing.T) {
	withStore(t, func(w *world) {
		h, runs := counting()
		w.handle(h)
		w.start()
		m := message()
		for range 3 {
			w.publish(m)
			w.pass(time.Minute) // the store is told on the next beat that the output is published
		}
		if runs.Load() != 1 {
			w.Errorf("%d runs", runs.Load())
		}
		w.only("out")
		if h := w.health(); h.Duplicates != 2 || h.Handled != 1 || h.InFlight != 0 {
			w.Errorf("health %+v", h)
		}
		if n := len(seen[router.Deduplicated](w)); n != 2 {
			w.Errorf("%d events", n)
		}
	})
}

func TestAnIdempotencyKeyMakesTwoMessagesOne(t *testing.T) {
	withStore(t, func(w *world) {
		h, runs := counting()
		w.handle(h)
		w.start()
		w.publish(message(envelope.WithIdempotencyKey("order-1")), message(envelope.WithIdempotencyKey("order-1")),
			message(envelope.WithIdempotencyKey("order-2")))
		w.pass(time.Minute)
		if runs.Load() != 2 {
			w.Errorf("%d runs", runs.Load())
		}
	})
}

func TestAnotherBodyUnderTheSameKeyIsADeadLetter(t *testing.T) {
	withStore(t, func(w *world) {
		h, runs := counting()
		w.handle(h)
		w.start()
		one := message()
		other := one.Clone()
		other.Data = []byte(`{"n":2}`)
		w.publish(one, other)
		w.pass(time.Minute)
		dead := w.only("agent.dead")
		if got := dead.Reserved(envelope.AttrDeadLetterReason); got != string(envelope.KeyReused) {
			w.Errorf("reason %q", got)
		}
		text := dead.Reserved(envelope.AttrDeadLetterError)
		if !strings.Contains(text, fmt.Sprintf("%x", other.Fingerprint())[:32]) || !strings.Contains(text, fmt.Sprintf("%x", one.Fingerprint())[:32]) {
			w.Errorf("it does not name both fingerprints: %s", text)
		}
		if runs.Load() != 1 {
			w.Errorf("%d runs", runs.Load())
		}
	})
}

func TestAStoreThatIsDownHandlesNothing(t *testing.T) {
	withStore(t, func(w *world) {
		h, runs := counting()
		w.handle(h)
		w.store.fail(errDown, nil)
		w.start()
		w.publish(message())
		w.pass(10 * time.Minute)
		if runs.Load() != 0 || len(w.on("agent.dead")) != 0 {
			w.Errorf("%d runs, %d dead letters", runs.Load(), len(w.on("agent.dead")))
		}
		if h := w.health(); !strings.Contains(h.Stalled, "the store is down") || h.InFlight != 1 {
			w.Errorf("health %+v", h)
		}
		w.store.fail(nil, nil)
		w.pass(2 * time.Minute)
		w.only("out")
		if a := seen[router.Attempted](w); len(a) != 1 || a[0].Attempt != 1 {
			w.Errorf("attempts %+v", a)
		}
		if h := w.health(); h.Stalled != "" || h.InFlight != 0 {
			w.Errorf("health %+v", h)
		}
	})
}

func TestProcessWithoutRecords(t *testing.T) {
	withStore(t, func(w *world) {
		h, runs := counting()
		w.handle(h)
		w.agent.ProcessOnStoreError = true
		w.store.fail(errDown, nil)
		w.start()
		m := message()
		w.publish(m, m)
		w.pass(time.Second)
		if h := w.health(); runs.Load() != 2 || h.Unrecorded != 2 || h.Handled != 2 {
			w.Errorf("%d runs, health %+v", runs.Load(), h)
		}
	})
}

// Outputs are not published before they are recorded, and the handler does not
// run again meanwhile.
func TestOutputsWaitForTheirRecord(t *testing.T) {
	withStore(t, func(w *world) {
		runs := 0
		w.handle(func(_ context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			runs++
			w.store.fail(errDown, nil)
			return []*envelope.Envelope{{Type: "test.answer", SchemaVersion: 1, Data: in.Data}}, nil
		})
		w.start()
		w.publish(message())
		w.pass(5 * time.Minute)
		if len(w.on("out")) != 0 || runs != 1 {
			w.Errorf("%d outputs, %d runs", len(w.on("out")), runs)
		}
		w.store.fail(nil, nil)
		w.pass(2 * time.Minute)
		w.only("out")
		if runs != 1 {
			w.Errorf("%d runs", runs)
		}
	})
}

// The store did what it was asked for, and its answer was lost.
func TestLostAnswersOfTheStore(t *testing.T) {
	withStore(t, func(w *world) {
		runs := 0
		w.handle(func(_ context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			runs++
			w.store.fail(nil, errDown)
			if runs == 1 {
				return nil, errBoom
			}
			return []*envelope.Envelope{{Type: "test.answer", SchemaVersion: 1, Data: in.Data}}, nil
		})
		w.start()
		w.publish(message())
		w.pass(time.Minute)
		w.store.fail(nil, nil)
		w.pass(time.Minute)
		w.store.fail(nil, nil)
		w.pass(2 * time.Minute)
		w.only("out")
		if runs != 2 {
			w.Errorf("%d runs", runs)
		}
	})
}

// A worker that was taken for dead comes to its end: another has the record.
func TestAZombiePublishesNothing(t *testing.T) {
	withStore(t, func(w *world) {
		var once sync.Once
		w.handle(func(_ context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			zombie := false
			once.Do(func() {
				zombie = true
				w.store.fail(errDown, nil) // it cannot renew its lease
				time.Sleep(40 * time.Second)
				w.store.fail(nil, nil)
				if v := w.claim(in, false); v.State != idempotency.Acquired {
					w.Errorf("the record is %v", v.State)
				}
			})
			return []*envelope.Envelope{{Type: "test.answer", SchemaVersion: 1, Data: fmt.Append(nil, zombie)}}, nil
		})
		w.start()
		w.publish(message())
		w.pass(5 * time.Minute)
		if out := w.only("out"); string(out.Data) != "false" {
			w.Errorf("published %s", out.Data)
		}
		if h := w.health(); h.Fenced != 1 {
			w.Errorf("health %+v", h)
		}
	})
}

// A process died between Complete and publishing.
func TestRecordedOutputsArePublishedWithoutTheHandler(t *testing.T) {
	withStore(t, func(w *world) {
		h, runs := counting()
		w.handle(h)
		m := message()
		c := w.claimOf(m, false)
		if _, err := w.memory.BeginOne(w.Context(), c); err != nil {
			w.Fatal(err)
		}
		out := &envelope.Envelope{ID: "recorded", Source: "/agents/agent", Type: "test.answer", SchemaVersion: 1, Time: time.Now(), Topic: "out"}
		err := w.memory.UpdateOne(w.Context(), &idempotency.Change{
			Key: c.Key, Token: c.Token, Op: idempotency.Complete, TTL: time.Hour, Outputs: []*envelope.Envelope{out}, Took: time.Minute,
		})
		if err != nil {
			w.Fatal(err)
		}
		w.start()
		w.publish(m)
		w.pass(time.Minute)
		w.publish(m)
		w.pass(time.Minute)
		if got := w.only("out"); got.ID != "recorded" {
			w.Errorf("published %v", got)
		}
		if h := w.health(); runs.Load() != 0 || h.Saved != 2*time.Minute {
			w.Errorf("%d runs, saved %v", runs.Load(), h.Saved)
		}
	})
}

func TestAMessageThatAnotherProcessHandlesWaits(t *testing.T) {
	t.Parallel()
	for name, order := range map[string]transport.Order{"unordered": transport.OrderNone, "by key": transport.OrderKey} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, true, func(w *world) {
				h, runs := counting()
				w.handle(h)
				w.agent.Subscription.Order = order
				w.agent.Subscription.Window = 8
				var all []*envelope.Envelope
				for range 40 {
					m := message(envelope.WithKey("k"))
					all = append(all, m)
					c := w.claimOf(m, false)
					c.Lease = time.Minute
					if _, err := w.memory.BeginOne(w.Context(), c); err != nil {
						w.Fatal(err)
					}
				}
				w.start()
				w.publish(all...)
				w.pass(50 * time.Second)
				if runs.Load() != 0 {
					w.Errorf("%d runs while others have the records", runs.Load())
				}
				w.pass(10 * time.Minute)
				if runs.Load() != 40 || len(w.on("agent.dead")) != 0 {
					w.Errorf("%d runs, %d dead letters", runs.Load(), len(w.on("agent.dead")))
				}
				for _, a := range seen[router.Attempted](w) {
					if a.Attempt != 1 {
						w.Errorf("waiting counted as an attempt: %+v", a)
					}
				}
			})
		})
	}
}

func TestAttemptsAreCountedInTheRecord(t *testing.T) {
	withStore(t, func(w *world) {
		h, calls := failing(errBoom)
		w.handle(h)
		m := message()
		for range 4 { // by other processes
			c := w.claimOf(m, false)
			if _, err := w.memory.BeginOne(w.Context(), c); err != nil {
				w.Fatal(err)
			}
			if err := w.memory.UpdateOne(w.Context(), &idempotency.Change{
				Key: c.Key, Token: c.Token, Op: idempotency.Release, Counted: true, TTL: time.Hour,
			}); err != nil {
				w.Fatal(err)
			}
		}
		w.start()
		w.publish(m)
		w.pass(time.Hour)
		if len(*calls) != 2 {
			w.Errorf("%d attempts, want the fifth and the sixth", len(*calls))
		}
		if got := w.only("agent.dead").Reserved(envelope.AttrDeadLetterAttempts); got != "6" {
			w.Errorf("attempts %q", got)
		}
		// The message comes again: no run, the same dead letter.
		w.publish(m)
		w.pass(time.Minute)
		dead := w.on("agent.dead")
		if len(*calls) != 2 || len(dead) != 2 || dead[0].Reserved(envelope.AttrDeadLetterID) != dead[1].Reserved(envelope.AttrDeadLetterID) ||
			dead[1].Reserved(envelope.AttrDeadLetterReason) != string(envelope.Exhausted) || dead[1].Reserved(envelope.AttrDeadLetterAttempts) != "6" {
			w.Errorf("%d attempts, dead letters %v", len(*calls), dead)
		}
		// An operator sends it again.
		again := m.Clone()
		again.Redrive = 1
		w.publish(again)
		w.pass(time.Hour)
		if len(*calls) != 8 {
			w.Errorf("%d attempts after a redrive, want six more", len(*calls))
		}
	})
}

// A message whose attempts ended with their processes runs alone, and only deaths
// while it is alone count.
func TestASuspectRunsAlone(t *testing.T) {
	withStore(t, func(w *world) {
		killer := message()
		killer.Subject = "killer"
		for range 3 {
			w.claim(killer, false)
			time.Sleep(2 * time.Second) // its lease ends
		}
		var running, beside atomic.Int64
		w.handle(func(_ context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			n := running.Add(1)
			defer running.Add(-1)
			if in.Subject == "killer" && n > 1 {
				beside.Add(1)
			}
			time.Sleep(3 * time.Second)
			if in.Subject == "killer" && running.Load() > 1 {
				beside.Add(1)
			}
			return nil, nil
		})
		w.agent.Discard = true
		w.start()
		for range 63 {
			w.publish(message())
		}
		w.publish(killer)
		w.pass(10 * time.Minute)
		if h := w.health(); h.Handled != 64 || beside.Load() != 0 || h.DeadLettered != 0 {
			w.Errorf("handled %d, %d beside the suspect, %d dead letters", h.Handled, beside.Load(), h.DeadLettered)
		}
	})
}

func TestDeathsAloneAreAttempts(t *testing.T) {
	withStore(t, func(w *world) {
		h, runs := counting()
		w.handle(h)
		killer := message()
		for range 2 {
			w.claim(killer, false)
			time.Sleep(2 * time.Second)
		}
		for range 6 {
			w.claim(killer, true)
			time.Sleep(2 * time.Second)
		}
		w.start()
		w.publish(killer)
		w.pass(time.Minute)
		dead := w.only("agent.dead")
		if runs.Load() != 0 || dead.Reserved(envelope.AttrDeadLetterAttempts) != "6" ||
			!strings.Contains(dead.Reserved(envelope.AttrDeadLetterError), "ended with the process") {
			w.Errorf("%d runs, dead letter %v", runs.Load(), dead.Extensions)
		}
	})
}

func TestTheRecordOfASlowHandlerIsRenewed(t *testing.T) {
	withStore(t, func(w *world) {
		w.agent.Policy.Timeout = time.Hour
		w.handle(func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			for range 10 {
				time.Sleep(time.Minute)
				if v := w.claim(in, false); v.State != idempotency.Busy {
					w.Errorf("after a while the record is %v", v.State)
				}
			}
			return nil, ctx.Err()
		})
		w.start()
		w.publish(message())
		w.pass(time.Hour)
		if h := w.health(); h.Handled != 1 {
			w.Errorf("health %+v", h)
		}
	})
}

// A transaction that is not committed fails the attempt; what it recorded is not
// taken for done.
func TestAnAttemptWhoseTransactionFails(t *testing.T) {
	withStore(t, func(w *world) {
		runs, commits := 0, 0
		w.handle(func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
			runs++
			_, err := idempotency.WorkOf(ctx).Join(func() (idempotency.Committer, error) {
				return &committer{commit: func(c *idempotency.Change) error {
					if commits++; commits == 1 {
						return errors.New("deadlock")
					}
					return w.memory.UpdateOne(ctx, c)
				}}, nil
			})
			return nil, err
		})
		w.start()
		w.publish(message())
		w.pass(time.Minute)
		if h := w.health(); runs != 2 || commits != 2 || h.Handled != 1 {
			w.Errorf("%d runs, %d commits, health %+v", runs, commits, h)
		}
	})
}

type committer struct {
	commit func(c *idempotency.Change) error
}

func (c *committer) Commit(_ context.Context, change *idempotency.Change) error {
	return c.commit(change)
}
func (*committer) Rollback(context.Context) error { return nil }

func TestOutputsThatTheStoreCannotTake(t *testing.T) {
	withStore(t, func(w *world) {
		h, runs := counting()
		w.handle(h)
		down := &cramped{Memory: w.memory}
		w.remember(down)
		w.start()
		w.publish(message())
		w.pass(time.Hour)
		if got := w.only("agent.dead").Reserved(envelope.AttrDeadLetterReason); got != string(envelope.TooLarge) || runs.Load() != 1 {
			w.Errorf("reason %q, %d runs", got, runs.Load())
		}
	})
}

// cramped is a store for which every output is too large.
type cramped struct{ *idempotency.Memory }

func (r *cramped) UpdateOne(ctx context.Context, c *idempotency.Change) error {
	if c.Op == idempotency.Complete && len(c.Outputs) > 0 {
		return &envelope.Error{Code: envelope.TooLarge, Message: "1 MiB is more than the store takes"}
	}
	return r.Memory.UpdateOne(ctx, c)
}

func TestStepsAndEffectKeysOutliveAttempts(t *testing.T) {
	withStore(t, func(w *world) {
		var steps int
		var keys []string
		w.handle(func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
			keys = append(keys, idempotency.EffectKey(ctx, "charge"))
			if _, err := idempotency.Step(ctx, "model", func(context.Context) (int, error) { steps++; return 42, nil }); err != nil {
				return nil, err
			}
			if len(keys) < 3 {
				return nil, errBoom
			}
			return nil, nil
		})
		w.start()
		w.publish(message())
		w.pass(time.Hour)
		if steps != 1 || len(keys) != 3 || keys[0] != keys[1] || keys[1] != keys[2] || len(keys[0]) != 52 {
			w.Errorf("the step ran %d times, keys %v", steps, keys)
		}
	})
}

func TestEffectKeysNeedNoStoreAndStepsDo(t *testing.T) {
	inBubble(t, false, func(w *world) {
		var keys []string
		var stepped error
		w.handle(func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
			keys = append(keys, idempotency.EffectKey(ctx, "charge"), idempotency.EffectKey(ctx, "mail"))
			_, stepped = idempotency.Step(ctx, "model", func(context.Context) (int, error) { return 0, nil })
			return nil, nil
		})
		w.start()
		m := message()
		w.publish(m, m)
		w.pass(time.Minute)
		if len(keys) != 4 || keys[0] != keys[2] || keys[1] != keys[3] || keys[0] == keys[1] {
			w.Errorf("keys %v", keys)
		}
		if !errors.Is(stepped, envelope.Unsupported) || !strings.Contains(stepped.Error(), "idempotency: { store: auto }") {
			w.Errorf("a step without a store: %v", stepped)
		}
	})
}

func TestBreaker(t *testing.T) {
	inWorld(t, func(w *world) {
		var runs atomic.Int64
		var healthy atomic.Bool
		w.handle(func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
			runs.Add(1)
			if !healthy.Load() {
				return nil, errBoom
			}
			return nil, nil
		})
		w.agent.Policy.Breaker = true
		w.start()
		for range 200 {
			w.publish(message())
		}
		w.pass(10 * time.Minute) // an outage that is longer than every retry
		if n := runs.Load(); n > 60 {
			w.Errorf("%d attempts during the outage", n)
		}
		if h := w.health(); h.DeadLettered > 5 || !strings.Contains(h.Stalled, "breaker") {
			w.Errorf("health %+v", h)
		}
		dead := w.health().DeadLettered
		healthy.Store(true)
		w.pass(5 * time.Minute)
		if h := w.health(); h.Handled+h.DeadLettered != 200 || h.DeadLettered != dead || h.Stalled != "" {
			w.Errorf("health %+v", h)
		}
	})
}

func TestRate(t *testing.T) {
	inWorld(t, func(w *world) {
		h, runs := counting()
		w.handle(h)
		w.agent.Policy.Rate = 2
		w.start()
		for range 60 {
			w.publish(message())
		}
		w.pass(10 * time.Second)
		if n := runs.Load(); n < 18 || n > 22 {
			w.Errorf("%d runs in 10 s at 2 per second", n)
		}
		w.pass(time.Minute)
		if n := runs.Load(); n != 60 {
			w.Errorf("%d runs", n)
		}
	})
}
