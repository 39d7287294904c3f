package idempotency_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

// model is the contract in the plainest words: a record for each key, and a
// clock. A store whose bound is low may forget what is done.
type model struct {
	store   *idempotency.Memory
	keys    []idempotency.Key
	records map[string]*modelRecord
	claims  []idempotency.Claim // that were made, for changes and repetitions
	bounded bool
	missed  uint64 // records that were expected and had been evicted
}

type modelRecord struct {
	state       string // held, released, completed, settled, failed
	claim       idempotency.Claim
	until       time.Time
	expires     time.Time
	attempts    int
	deaths      int
	alone       int
	redrive     int
	steps       map[string][]byte
	output      string // id; empty: none
	failure     *idempotency.Failure
	took        time.Duration
	fingerprint [32]byte
}

// modelKeys are of one shard of the store, so that they share its bound.
func modelKeys() []idempotency.Key {
	var keys []idempotency.Key
	for i := 0; len(keys) < 6; i++ {
		if key := idempotency.NamedKey("anywire/group", "t", fmt.Sprint(i)); key.Hash[0]&63 == 7 {
			keys = append(keys, key)
		}
	}
	return keys
}

// get is a record that has not expired.
func (m *model) get(key idempotency.Key) *modelRecord {
	r := m.records[key.String()]
	if r != nil && !time.Now().Before(r.expires) {
		delete(m.records, key.String())
		return nil
	}
	return r
}

// evicted reports whether the store may have forgotten a record, and forgets it.
func (m *model) evicted(key idempotency.Key) bool {
	r := m.get(key)
	if r == nil || !m.bounded || r.state == "held" || r.state == "released" {
		return false
	}
	m.missed++
	delete(m.records, key.String())
	return true
}

// begin is the verdict that a claim deserves.
func (m *model) begin(c idempotency.Claim) idempotency.Verdict {
	r, now := m.get(c.Key), time.Now()
	if r == nil {
		r = &modelRecord{state: "released", fingerprint: c.Fingerprint}
		m.records[c.Key.String()] = r
	}
	if r.fingerprint != c.Fingerprint {
		return idempotency.Verdict{State: idempotency.Mismatch}
	}
	switch r.state {
	case "completed", "settled":
		return idempotency.Verdict{State: idempotency.Done, Took: r.took, Outputs: outputsOf(r.output)}
	case "failed":
		if c.Redrive <= r.redrive {
			return idempotency.Verdict{State: idempotency.Failed, Failure: r.failure}
		}
		r.attempts, r.deaths, r.alone, r.failure = 0, 0, 0, nil
	case "held":
		if r.claim.Token == c.Token {
			break
		}
		if now.Before(r.until) {
			return idempotency.Verdict{State: idempotency.Busy, Until: r.until.Sub(now)}
		}
		if r.deaths++; r.claim.Alone {
			r.alone++
			r.attempts++
		}
	default:
	}
	r.state, r.claim, r.until, r.expires = "held", c, now.Add(c.Lease), now.Add(c.TTL)
	r.redrive = max(r.redrive, c.Redrive)
	return idempotency.Verdict{
		State: idempotency.Acquired, Attempts: r.attempts, Deaths: r.deaths, DeathsAlone: r.alone, Steps: r.steps,
	}
}

// update reports whether a change holds.
func (m *model) update(c idempotency.Change) bool {
	r, now := m.get(c.Key), time.Now()
	if c.Op == idempotency.Settle {
		if r != nil && r.state == "completed" {
			r.state, r.output, r.expires = "settled", "", now.Add(c.TTL)
		}
		return true
	}
	if r == nil || r.claim.Token != c.Token {
		return false
	}
	if r.state != "held" {
		return r.repeats(c, now)
	}
	r.expires = now.Add(c.TTL)
	switch c.Op {
	case idempotency.Remember:
		r.steps = maps.Clone(r.steps)
		if r.steps == nil {
			r.steps = map[string][]byte{}
		}
		r.steps[c.Step] = c.Value
		r.until = now.Add(c.Lease)
	case idempotency.Extend:
		r.until = now.Add(c.Lease)
	case idempotency.Complete:
		r.state, r.took = "settled", c.Took
		if len(c.Outputs) > 0 {
			r.state, r.output = "completed", c.Outputs[0].ID
		}
	case idempotency.Release:
		if r.state = "released"; c.Counted {
			r.attempts++
		}
	default:
		r.state, r.failure = "failed", c.Failure
	}
	return true
}

// repeats reports whether a record is as a change leaves it.
func (r *modelRecord) repeats(c idempotency.Change, now time.Time) bool {
	same := c.Op == idempotency.Complete && (r.state == "completed" || r.state == "settled") ||
		c.Op == idempotency.Release && r.state == "released" ||
		c.Op == idempotency.Fail && r.state == "failed"
	if same && r.state != "settled" {
		r.expires = now.Add(c.TTL)
	}
	return same
}

func outputsOf(id string) []*envelope.Envelope {
	if id == "" {
		return nil
	}
	return []*envelope.Envelope{{ID: id, Source: "/", Type: "t", SchemaVersion: 1}}
}

// drawClaim is a new claim, or one that was made before, once more.
func (m *model) drawClaim(t *rapid.T) idempotency.Claim {
	if len(m.claims) > 0 && rapid.IntRange(0, 3).Draw(t, "repeat") == 0 {
		return rapid.SampledFrom(m.claims).Draw(t, "claim")
	}
	c := idempotency.Claim{
		Key: rapid.SampledFrom(m.keys).Draw(t, "key"), Token: idempotency.NewToken(),
		Lease:   time.Duration(rapid.IntRange(1, 10).Draw(t, "lease")) * time.Second,
		Redrive: max(0, rapid.IntRange(-3, 3).Draw(t, "redrive")), Alone: rapid.Bool().Draw(t, "alone"),
	}
	c.TTL = c.Lease + time.Duration(rapid.IntRange(1, 30).Draw(t, "ttl"))*time.Second
	if rapid.IntRange(0, 9).Draw(t, "other body") == 0 {
		c.Fingerprint[3] = 1
	}
	m.claims = append(m.claims, c)
	return c
}

func (m *model) doBegin(t *rapid.T) {
	c := m.drawClaim(t)
	got, err := m.store.BeginOne(t.Context(), &c)
	if err != nil {
		t.Fatal(err)
	}
	before := m.get(c.Key)
	if before != nil {
		kept := *before
		before = &kept
	}
	want := m.begin(c)
	if sameVerdict(got, want) {
		return
	}
	if before != nil {
		m.records[c.Key.String()] = before
	}
	if m.evicted(c.Key) {
		want = m.begin(c)
	}
	if !sameVerdict(got, want) {
		t.Fatalf("the claim is %+v, want %+v", got, want)
	}
}

func sameVerdict(a, b idempotency.Verdict) bool {
	sameFailure := a.Failure == nil && b.Failure == nil || a.Failure != nil && b.Failure != nil && *a.Failure == *b.Failure
	sameOutputs := len(a.Outputs) == len(b.Outputs) && (len(a.Outputs) == 0 || a.Outputs[0].ID == b.Outputs[0].ID)
	return a.State == b.State && a.Attempts == b.Attempts && a.Deaths == b.Deaths && a.DeathsAlone == b.DeathsAlone &&
		a.Until == b.Until && a.Took == b.Took && sameFailure && sameOutputs && maps.EqualFunc(a.Steps, b.Steps, bytes.Equal)
}

func (m *model) doUpdate(t *rapid.T) {
	if len(m.claims) == 0 {
		t.Skip("nobody has begun")
	}
	recent := m.claims[max(0, len(m.claims)-8):]
	c := rapid.SampledFrom(recent).Draw(t, "claim")
	ch := changeOf(&c, rapid.SampledFrom([]idempotency.Op{
		idempotency.Extend, idempotency.Remember, idempotency.Complete, idempotency.Settle, idempotency.Release, idempotency.Fail,
	}).Draw(t, "op"))
	ch.Step, ch.Value = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "step"), rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "value")
	ch.Outputs = outputsOf(rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "output"))
	ch.Took, ch.Counted = time.Duration(rapid.IntRange(0, 5000).Draw(t, "took"))*time.Millisecond, rapid.Bool().Draw(t, "counted")
	ch.Failure = &idempotency.Failure{Reason: envelope.Exhausted, Attempts: rapid.IntRange(0, 3).Draw(t, "attempts")}
	err := m.store.UpdateOne(t.Context(), &ch)
	if err != nil && !errors.Is(err, idempotency.ErrFenced) {
		t.Fatal(err)
	}
	held := err == nil
	if want := m.update(ch); held != want && (held || !m.evicted(c.Key)) {
		t.Fatalf("%v: error %v, want it to hold: %v", ch.Op, err, want)
	}
}

// check compares what the store says of itself.
func (m *model) check(t *rapid.T) {
	s, kept := m.store.Stats(), 0
	for _, key := range m.keys {
		if m.get(key) != nil {
			kept++
		}
	}
	if s.Evicted < m.missed {
		t.Fatalf("%d records were missing, and %d evicted", m.missed, s.Evicted)
	}
	if !m.bounded && (s.Evicted > 0 || s.Records < kept) {
		t.Fatalf("%+v, want %d records and no evictions", s, kept)
	}
}

// timeless hides the deadline of a test, which bubbles do not have.
type timeless struct{ rapid.TB }

// TestMemoryModel compares the store with the model, over claims, changes, lost
// answers, deaths and time.
func TestMemoryModel(t *testing.T) {
	t.Parallel()
	for name, most := range map[string]int{"bounded": 64, "unbounded": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys := modelKeys()
			synctest.Test(t, func(t *testing.T) {
				rapid.Check(timeless{t}, func(t *rapid.T) {
					m := &model{
						store: idempotency.NewMemory(&idempotency.MemoryOptions{MaxRecords: most}),
						keys:  keys, records: map[string]*modelRecord{}, bounded: most > 0,
					}
					t.Repeat(map[string]func(*rapid.T){
						"begin":  m.doBegin,
						"update": m.doUpdate,
						"time":   func(t *rapid.T) { pass(time.Duration(rapid.IntRange(1, 12).Draw(t, "seconds")) * time.Second) },
						"":       m.check,
					})
				})
			})
		})
	}
}
