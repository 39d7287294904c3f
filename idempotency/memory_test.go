package idempotency_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

// memory is a store in a bubble, with what tests do to it.
type memory struct {
	*idempotency.Memory

	t *testing.T
}

// inMemory runs a test in a bubble. The bound is for all shards together.
func inMemory(t *testing.T, most int, test func(m memory)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		test(memory{idempotency.NewMemory(&idempotency.MemoryOptions{MaxRecords: most}), t})
	})
}

func (m memory) begin(c idempotency.Claim) idempotency.Verdict {
	m.t.Helper()
	v, err := m.BeginOne(m.t.Context(), &c)
	if err != nil {
		m.t.Fatal(err)
	}
	return v
}

func (m memory) want(c idempotency.Claim, state idempotency.State) {
	m.t.Helper()
	c.Token = idempotency.NewToken()
	if v := m.begin(c); v.State != state {
		m.t.Errorf("the claim is %v, want %v", v.State, state)
	}
}

func (m memory) update(c idempotency.Claim, op idempotency.Op, outputs ...*envelope.Envelope) {
	m.t.Helper()
	ch := changeOf(&c, op)
	ch.Outputs = outputs
	ch.Failure = &idempotency.Failure{Reason: envelope.Exhausted}
	if err := m.UpdateOne(m.t.Context(), &ch); err != nil {
		m.t.Fatalf("%v: %v", op, err)
	}
}

// all brings n messages, from the given one on, through the operations.
func (m memory) all(from, n int, ops ...idempotency.Op) {
	m.t.Helper()
	for i := from; i < from+n; i++ {
		c := claimOf(i)
		m.begin(c)
		for _, op := range ops {
			m.update(c, op, &envelope.Envelope{ID: "1", Source: "/", Type: "t", SchemaVersion: 1})
		}
	}
}

func (m memory) wantRecords(least, most int) idempotency.Stats {
	m.t.Helper()
	s := m.Stats()
	if s.Records < least || s.Records > most {
		m.t.Errorf("%+v, want %d to %d records", s, least, most)
	}
	return s
}

func pass(d time.Duration) { <-time.After(d) }

// Whatever way messages end, the bound holds, and the newest are those that stay.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	for name, ops := range map[string][]idempotency.Op{
		"settled":   {idempotency.Complete, idempotency.Settle},
		"completed": {idempotency.Complete}, // as those of requests are until their TTL
		"failed":    {idempotency.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, 640, func(m memory) {
				m.all(0, 10_000, ops...)
				if s := m.wantRecords(600, 640); s.Evicted != uint64(10_000-s.Records) {
					t.Errorf("%+v, want as many evicted as are missing", s)
				}
				m.want(claimOf(0), idempotency.Acquired)
				last := claimOf(9_999)
				last.Token = idempotency.NewToken()
				if v := m.begin(last); v.State == idempotency.Acquired {
					t.Errorf("the newest record is gone: %v", v.State)
				}
			})
		})
	}
}

func TestMemoryEvictsTheOldest(t *testing.T) {
	const rounds, each, most, spread = 20, 1000, 64 * 64, 2000 // shards do not fill evenly
	inMemory(t, most, func(m memory) {
		for i := range rounds {
			m.all(i*each, each, []idempotency.Op{idempotency.Fail, idempotency.Complete}[i%2])
		}
		for i := range rounds * each {
			c := claimOf(i)
			c.Token = idempotency.NewToken()
			switch age, gone := rounds*each-i, m.begin(c).State == idempotency.Acquired; {
			case gone && age < most-spread:
				t.Fatalf("record %d of %d is gone", i, rounds*each)
			case !gone && age > most+spread:
				t.Fatalf("record %d of %d is there, and younger ones are not", i, rounds*each)
			}
		}
	})
}

// Nothing in progress is evicted, nor what waits for its next attempt.
func TestMemoryKeepsWhatIsInProgress(t *testing.T) {
	inMemory(t, 64, func(m memory) {
		m.all(0, 500)
		m.all(500, 500, idempotency.Release)
		m.all(1000, 5000, idempotency.Complete, idempotency.Settle)
		m.wantRecords(1000, 1064)
		for i := range 500 {
			c := claimOf(i)
			m.want(c, idempotency.Busy)
			m.update(c, idempotency.Extend)
		}
	})
}

// What is over goes when others come: no goroutine looks after it.
func TestMemoryForgetsWhatIsOver(t *testing.T) {
	t.Parallel()
	for name, ops := range map[string][]idempotency.Op{
		"abandoned": nil,
		"released":  {idempotency.Release},
		"failed":    {idempotency.Fail},
		"completed": {idempotency.Complete},
		"settled":   {idempotency.Complete, idempotency.Settle},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, 100_000, func(m memory) {
				m.all(0, 2000, ops...)
				pass(25 * time.Hour)
				m.all(10_000, 4000, idempotency.Complete, idempotency.Settle)
				if s := m.wantRecords(4000, 4100); s.Evicted != 0 {
					t.Errorf("%+v, want nothing evicted: it was over", s)
				}
				m.want(claimOf(0), idempotency.Acquired)
			})
		})
	}
}

// A record that fails and is opened again leaves places in the order of those
// that are done; they are bounded, too.
func TestMemoryBoundsPlacesThatWereLeft(t *testing.T) {
	inMemory(t, 640, func(m memory) {
		m.all(0, 100, idempotency.Complete, idempotency.Settle)
		c := claimOf(100)
		for redrive := range 5_000 {
			c.Redrive, c.Token = redrive, idempotency.NewToken()
			if v := m.begin(c); v.State != idempotency.Acquired {
				t.Fatalf("redrive %d is %v", redrive, v.State)
			}
			m.update(c, idempotency.Fail)
		}
		if n := idempotency.Places(m.Memory); n > 1000 {
			t.Errorf("%d places are kept for 101 records", n)
		}
		m.want(c, idempotency.Failed)
	})
}

func TestMemoryWindow(t *testing.T) {
	inMemory(t, 640, func(m memory) {
		want := func(least, most time.Duration) {
			t.Helper()
			if w := m.Stats().Window; w < least || w > most {
				t.Errorf("the window is %v, want %v to %v", w, least, most)
			}
		}
		want(0, 0)
		m.all(0, 1)
		want(24*time.Hour, 24*time.Hour)
		m.all(1, 200, idempotency.Complete, idempotency.Settle)
		want(24*time.Hour, 24*time.Hour) // nothing has to go
		for i := range 100 {
			m.all(1000+i*64, 64, idempotency.Complete, idempotency.Settle)
			pass(time.Minute)
		}
		want(4*time.Minute, 12*time.Minute) // 64 a minute, 640 in all
		pass(time.Hour)
		want(64*time.Minute, 72*time.Minute) // and nobody came since
		pass(48 * time.Hour)
		want(24*time.Hour, 24*time.Hour)
	})
}

// An update of a record that expired, and that nobody has looked at since, is
// as one of a record that is gone.
func TestMemoryChangesNothingThatExpired(t *testing.T) {
	inMemory(t, 0, func(m memory) {
		m.all(0, 1)
		pass(25 * time.Hour)
		c := claimOf(0)
		ch := changeOf(&c, idempotency.Complete)
		if err := m.UpdateOne(context.Background(), &ch); err == nil {
			t.Error("a record is completed after its TTL")
		}
		m.wantRecords(0, 0)
	})
}

// Messages that come again after their TTL, for ever, count once each.
func TestMemoryCountsWhatComesAgain(t *testing.T) {
	inMemory(t, 64*10, func(m memory) {
		for range 50 {
			m.all(0, 64, idempotency.Complete, idempotency.Settle)
			pass(25 * time.Hour)
		}
		m.all(0, 64, idempotency.Complete, idempotency.Settle)
		if s := m.wantRecords(64, 64); s.Evicted > 0 {
			t.Errorf("%+v, want nothing evicted", s)
		}
	})
}

// A record that expired behind one that has not, and was made anew, has the age
// of the new one.
func TestMemoryDoesNotConfuseARecordWithItsPredecessor(t *testing.T) {
	keys := modelKeys()
	inMemory(t, 64*4, func(m memory) {
		settle := func(key int, ttl time.Duration) {
			c := claimOf(0)
			c.Key, c.Token, c.TTL = keys[key], idempotency.NewToken(), ttl
			m.begin(c)
			m.update(c, idempotency.Complete)
		}
		settle(0, time.Hour)
		settle(1, time.Minute)
		pass(2 * time.Minute)
		for key := 1; key <= 4; key++ {
			settle(key, time.Hour)
		}
		if s := m.wantRecords(4, 4); s.Evicted != 1 {
			t.Errorf("%+v, want the oldest evicted and no other", s)
		}
		for key, state := range []idempotency.State{idempotency.Acquired, idempotency.Done} {
			c := claimOf(0)
			c.Key = keys[key]
			m.want(c, state)
		}
	})
}
