package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/storetest"
)

// server keeps records as bytes, right in everything except in what the case
// named broken proves: each case has its defect, here or in defects_test.go.
type server struct {
	broken string

	mu      sync.Mutex
	records map[idempotency.Key]*entry
	flying  int             // batches that have read and not written
	lost    map[string]bool // keys that the harness made the server forget
	seen    map[string]int  // Done verdicts by key
}

// entry is a record at its place.
type entry struct {
	doc     []byte
	granted time.Time // when the lease began
	until   time.Time // when it ends
	expires time.Time
	ttl     time.Duration // of the claim
	reborn  bool          // there was one before it
	home    *view
}

const maxOutputs = 8 << 20

// variants are further defects of a case, each named after it.
var variants = map[string][]string{
	"claim/context":                  {"claim/context+waits"},
	"claim/until":                    {"claim/until+zero"},
	"lease/takeover":                 {"lease/takeover+never"},
	"output/answered":                {"output/answered+empty", "output/answered+order"},
	"output/settle-is-for-completed": {"output/settle-is-for-completed+extends"},
	"output/too-large":               {"output/too-large+code"},
	"failure/redriven":               {"failure/redriven+steps"},
	"fence/nothing-there":            {"fence/nothing-there+made"},
	"fence/one-end":                  {"fence/one-end+complete"},
	"expiry/each-its-own":            {"expiry/each-its-own+claims"},
	"expiry/settled":                 {"expiry/settled+early"},
	"contention/one-acquires":        {"contention/one-acquires+outputs"},
}

// harness is that of a server of its own.
func harness(broken string) storetest.Harness {
	s := newServer(broken)
	return storetest.Harness{
		Name:       "reference",
		Open:       func(testing.TB) idempotency.Store { return &view{server: s} },
		Lease:      250 * time.Millisecond,
		MaxOutputs: maxOutputs,
		Restart:    func(testing.TB) { s.restart() },
		Damage: func(_ testing.TB, key idempotency.Key) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.breaks("ability/broken") {
				delete(s.records, key)
				return
			}
			s.records[key].doc = []byte("\x63 what is this?")
		},
		Forget: func(_ testing.TB, key idempotency.Key) {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.records, key)
			s.lost[key.String()] = true
		},
	}
}

func newServer(broken string) *server {
	return &server{
		broken: broken, records: map[idempotency.Key]*entry{}, lost: map[string]bool{}, seen: map[string]int{},
	}
}

func (s *server) breaks(names ...string) bool { return slices.Contains(names, s.broken) }

// restart loses nothing, unless that is the defect.
func (s *server) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.records {
		var r idempotency.Record
		if r.UnmarshalBinary(e.doc) != nil {
			continue
		}
		switch {
		case s.breaks("restart/keeps-what-was-answered"):
			r.Steps = nil
		case s.breaks("restart/attempts-go-on"):
			r.Token = idempotency.NewToken()
		default:
		}
		e.doc = marshal(&r)
	}
}

func marshal(r *idempotency.Record) []byte {
	doc, err := r.MarshalBinary()
	if err != nil {
		panic(err)
	}
	return doc
}

// view is one process's connection.
type view struct{ *server }

var (
	_ idempotency.Store   = (*view)(nil)
	_ idempotency.Single  = (*view)(nil)
	_ idempotency.Counter = (*view)(nil)
	_ idempotency.Closer  = (*view)(nil)
)

func (v *view) Close(context.Context) error {
	if v.breaks("ability/close") {
		v.mu.Lock()
		defer v.mu.Unlock()
		clear(v.records)
	}
	return nil
}

func (v *view) Stats() idempotency.Stats {
	if v.breaks("ability/stats") {
		return idempotency.Stats{Records: 3}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return idempotency.Stats{Records: len(v.records)}
}

func (v *view) BeginOne(ctx context.Context, c *idempotency.Claim) (idempotency.Verdict, error) {
	verdicts, err := v.Begin(ctx, []idempotency.Claim{*c})
	if err != nil {
		return idempotency.Verdict{}, err
	}
	if v.breaks("ability/single") {
		verdicts[0].Attempts = 0
	}
	return verdicts[0], nil
}

func (v *view) UpdateOne(ctx context.Context, c *idempotency.Change) error {
	errs, err := v.Update(ctx, []idempotency.Change{*c})
	return errors.Join(append(errs, err)...)
}

func (v *view) Begin(ctx context.Context, claims []idempotency.Claim) ([]idempotency.Verdict, error) {
	if err := v.hold(ctx, claims); err != nil {
		return nil, err
	}
	claims = v.bend(claims)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.breaks("contention/batches") && len(claims) > 1 && len(claims) < 100 {
		if v.flying++; v.flying > 1 {
			return nil, errors.New("deadlock detected")
		}
		v.away()
		v.flying--
	}
	snapshot := maps.Clone(v.records)
	verdicts := make([]idempotency.Verdict, len(claims))
	for i := range claims {
		if v.breaks("batch/one-key-twice") {
			v.records[claims[i].Key] = snapshot[claims[i].Key]
		}
		verdicts[i] = v.begin(&claims[i])
	}
	if v.breaks("batch/verdicts-in-order") {
		slices.Reverse(verdicts)
	}
	if v.breaks("batch/full") && len(claims) > 500 {
		verdicts[500] = idempotency.Verdict{State: idempotency.Busy, Until: time.Second}
	}
	return verdicts, nil
}

// away lets others in, as a store does that reads and writes in two steps.
func (s *server) away() {
	s.mu.Unlock()
	timer := time.NewTimer(time.Millisecond)
	defer timer.Stop()
	<-timer.C
	s.mu.Lock()
}

// hold is what a store does with a context that has ended.
func (v *view) hold(ctx context.Context, claims []idempotency.Claim) error {
	switch {
	case v.breaks("batch/empty") && len(claims) == 0:
		return errors.New("a batch has no items")
	case ctx.Err() == nil:
		return nil
	case v.breaks("claim/context+waits"):
		timer := time.NewTimer(time.Hour)
		defer timer.Stop()
		<-timer.C
	case v.breaks("claim/context"):
		c := claims[0]
		c.Token = idempotency.NewToken()
		v.mu.Lock()
		defer v.mu.Unlock()
		v.begin(&c)
	default:
	}
	return ctx.Err()
}

// read is a record and its entry, both empty where there is none that has not
// expired.
func (v *view) read(key idempotency.Key) (r *idempotency.Record, e *entry, err error) {
	e, r = v.records[key], new(idempotency.Record)
	switch {
	case e == nil:
		return r, &entry{}, nil
	case !time.Now().Before(e.expires):
		return r, &entry{reborn: true}, nil
	default:
		err = r.UnmarshalBinary(bytes.Clone(e.doc))
		return r, e, err
	}
}

func (v *view) begin(c *idempotency.Claim) idempotency.Verdict {
	r, e, err := v.read(c.Key)
	if err != nil {
		return idempotency.Verdict{State: idempotency.Broken, Err: err}
	}
	if v.races(r) {
		v.away()
	}
	now, old, was := time.Now(), *r, *e
	v.beforeClaim(c, r, e)
	verdict := r.Begin(c, e.until.Sub(now))
	v.afterClaim(c, &old, r, &verdict)
	if verdict.State != idempotency.Acquired {
		v.refused(c, &verdict)
		return verdict
	}
	next := &entry{doc: marshal(r), granted: now, until: now.Add(c.Lease), expires: now.Add(c.TTL), ttl: c.TTL, reborn: was.reborn, home: v}
	if v.breaks("lease/begins-at-the-claim") && old.Phase == idempotency.Released {
		next.until = was.until
	}
	v.records[c.Key] = next
	return verdict
}

func (v *view) Update(_ context.Context, changes []idempotency.Change) ([]error, error) {
	if v.breaks("batch/empty") && len(changes) == 0 {
		return nil, errors.New("a batch has no items")
	}
	if v.breaks("batch/scopes") {
		changes = slices.Clone(changes)
		for i := range changes {
			changes[i].Key.Scope = changes[0].Key.Scope
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	errs, bad := make([]error, len(changes)), false
	for i := range changes {
		if v.breaks("batch/changes-of-one-record") && slices.ContainsFunc(changes[i+1:], func(c idempotency.Change) bool { return c.Key == changes[i].Key }) {
			continue
		}
		if bad && v.breaks("batch/answers-in-order") {
			continue
		}
		errs[i] = v.update(&changes[i])
		bad = bad || errs[i] != nil
	}
	if !bad {
		return nil, nil
	}
	return errs, nil
}

func (v *view) update(c *idempotency.Change) error {
	c = v.bendChange(c)
	r, e, err := v.read(c.Key)
	if err != nil {
		return err
	}
	if v.breaks("contention/steps") {
		v.away()
	}
	old, was := *r, *e
	if done, err := v.beforeChange(c, r, e); done {
		return err
	}
	if c.Op == idempotency.Complete && tooLarge(c.Outputs) {
		if v.breaks("output/too-large") {
			r.Phase = idempotency.Released
			v.records[c.Key].doc = marshal(r)
		}
		if v.breaks("output/too-large+code") {
			return errors.New("value too long")
		}
		return &envelope.Error{Code: envelope.TooLarge, Message: "outputs"}
	}
	if err := r.Apply(c); err != nil {
		return err
	}
	if r.Phase == 0 {
		return nil // nothing is there to settle
	}
	now := time.Now()
	next := &entry{granted: was.granted, until: was.until, expires: now.Add(c.TTL), ttl: was.ttl, reborn: was.reborn, home: was.home}
	if c.Op == idempotency.Extend || c.Op == idempotency.Remember || v.breaks("output/settle-is-for-completed+extends") {
		next.granted, next.until = now, now.Add(c.Lease)
	}
	v.afterChange(c, &old, r, &was, next)
	next.doc = marshal(r)
	v.records[c.Key] = next
	return nil
}

func tooLarge(outputs []*envelope.Envelope) bool {
	size := 0
	for _, out := range outputs {
		size += len(out.Data)
	}
	return size > maxOutputs
}

// phaseOf is the phase that a case of theme mismatch is about.
func phaseOf(broken string) idempotency.Phase {
	_, name, _ := strings.Cut(broken, "mismatch/")
	names := []string{"in-progress", "released", "completed", "settled", "failed"}
	return idempotency.Phase(slices.Index(names, name) + 1)
}
