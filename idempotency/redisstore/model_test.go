package redisstore

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

// TestRules compares the scripts with idempotency.Record, whose rules they follow,
// in random lives of records. Time passes by taking it from a record's time to live.
func TestRules(t *testing.T) {
	t.Parallel()
	s := shared(t)
	seen := map[string]int{}
	for seed := range uint64(60) {
		m := &model{t: t, s: s, seen: seen, rnd: rand.New(rand.NewPCG(seed, 1)), name: fmt.Sprint("message ", seed)}
		for range 60 {
			m.step()
			if t.Failed() {
				t.Fatalf("seed %d, after %s", seed, strings.Join(m.log, ", "))
			}
		}
	}
	for _, what := range []string{
		"acquired", "acquired with steps", "acquired after attempts", "acquired after deaths", "acquired after deaths alone", "busy", "done",
		"done with outputs", "failed", "mismatch", "held", "fenced",
	} {
		if seen[what] < 5 {
			t.Errorf("%s: seen %d times in %v", what, seen[what], seen)
		}
	}
}

// model is one record twice.
type model struct {
	t    *testing.T
	s    *Store
	rnd  *rand.Rand
	name string
	log  []string
	seen map[string]int

	r      idempotency.Record
	left   time.Duration
	ttl    time.Duration // of the last change that moved the lease
	tokens []idempotency.Token
}

func (m *model) step() {
	switch m.rnd.IntN(8) {
	case 0:
		m.pass()
	case 1, 2, 3:
		m.begin()
	default:
		m.update()
	}
}

// pass ends the lease of a record in progress.
func (m *model) pass() {
	m.log = append(m.log, "lease over")
	if m.r.Phase != idempotency.InProgress {
		return
	}
	key := keyOf(m.s, claim(m.name).Key)
	if ok, err := m.s.client.PExpire(m.t.Context(), key, m.ttl-m.r.Lease-time.Second).Result(); err != nil || !ok {
		m.t.Fatalf("PEXPIRE %q: %v, %v", key, ok, err)
	}
	m.left = 0
}

func (m *model) token() idempotency.Token {
	if len(m.tokens) == 0 || m.rnd.IntN(3) == 0 {
		m.tokens = append(m.tokens, idempotency.NewToken())
	}
	return m.tokens[len(m.tokens)-1-m.rnd.IntN(min(2, len(m.tokens)))]
}

func (m *model) begin() {
	c := claim(m.name)
	c.Token, c.Alone, c.Redrive = m.token(), m.rnd.IntN(2) == 0, m.rnd.IntN(3)
	c.Lease, c.TTL = time.Duration(1+m.rnd.IntN(3))*time.Minute, time.Duration(1+m.rnd.IntN(3))*time.Hour
	if m.rnd.IntN(8) == 0 {
		c.Fingerprint = sha256.Sum256([]byte("another"))
	}
	m.log = append(m.log, fmt.Sprintf("begin %.2v alone=%v redrive=%d", c.Token, c.Alone, c.Redrive))
	want := m.r.Begin(&c, m.left)
	if want.State == idempotency.Acquired {
		m.left, m.ttl = c.Lease, c.TTL
	}
	m.compare(begin(m.t, m.s, c)[0], want)
}

func (m *model) compare(got, want idempotency.Verdict) {
	m.seen[want.State.String()]++
	for what, is := range map[string]bool{
		" with steps": len(want.Steps) > 0, " after attempts": want.Attempts > 0, " after deaths": want.Deaths > 0,
		" after deaths alone": want.DeathsAlone > 0, " with outputs": len(want.Outputs) > 0,
	} {
		if is {
			m.seen[want.State.String()+what]++
		}
	}
	if got.State != want.State || got.Attempts != want.Attempts || got.Deaths != want.Deaths || got.DeathsAlone != want.DeathsAlone ||
		got.Took != want.Took || !reflect.DeepEqual(got.Failure, want.Failure) || len(got.Outputs) != len(want.Outputs) ||
		!bytes.Equal(got.Fingerprint[:16], want.Fingerprint[:16]) {
		m.t.Errorf("%+v, want %+v", got, want)
	}
	if got.Until > want.Until || got.Until < want.Until-20*time.Second {
		m.t.Errorf("busy for %v, want %v", got.Until, want.Until)
	}
	if len(got.Steps) != len(want.Steps) || len(want.Steps) > 0 && !reflect.DeepEqual(got.Steps, want.Steps) {
		m.t.Errorf("steps %q, want %q", got.Steps, want.Steps)
	}
	for i := range want.Outputs {
		if i < len(got.Outputs) && (!bytes.Equal(got.Outputs[i].Data, want.Outputs[i].Data) || got.Outputs[i].ID != want.Outputs[i].ID) {
			m.t.Errorf("output %d differs", i)
		}
	}
}

func (m *model) update() {
	c := idempotency.Change{
		Key: claim(m.name).Key, Token: m.token(), Op: idempotency.Op(1 + m.rnd.IntN(int(idempotency.Fail))), TTL: 4 * time.Hour,
		Lease: time.Duration(1+m.rnd.IntN(3)) * time.Minute, Step: fmt.Sprint("step", m.rnd.IntN(2)), Value: fmt.Append(nil, m.rnd.IntN(1000)),
		Took: time.Duration(m.rnd.Int64N(int64(time.Hour))), Counted: m.rnd.IntN(2) == 0,
		Failure: &idempotency.Failure{Reason: envelope.Rejected, Message: "no", Attempts: m.rnd.IntN(9)},
	}
	if size := [...]int{0, 10, 2 * beside}[m.rnd.IntN(3)]; size > 0 {
		c.Outputs = []*envelope.Envelope{output(size)}
	}
	m.log = append(m.log, fmt.Sprintf("%v %.2v outputs=%d counted=%v", c.Op, c.Token, len(c.Outputs), c.Counted))
	want := m.r.Apply(&c)
	m.seen[map[bool]string{true: "held", false: "fenced"}[want == nil]]++
	if want == nil && (c.Op == idempotency.Extend || c.Op == idempotency.Remember) {
		m.left, m.ttl = c.Lease, c.TTL
	}
	if got := update(m.t, m.s, c)[0]; errors.Is(got, idempotency.ErrFenced) != errors.Is(want, idempotency.ErrFenced) || (got == nil) != (want == nil) {
		m.t.Errorf("%v: %v, want %v", c.Op, got, want)
	}
}

func output(size int) *envelope.Envelope {
	return &envelope.Envelope{
		ID: fmt.Sprint("output-", size), Source: "test", Type: "type", Topic: "out", Time: time.Unix(1, 0).UTC(),
		Data: bytes.Repeat([]byte("x"), size),
	}
}
