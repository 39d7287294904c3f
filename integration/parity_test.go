package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/router"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// Half, Whole and Later are what a Job becomes on its way.
type (
	Half  Job
	Whole Job
	Later Job // of version 2, which nobody here knows
	Alien Job // of a type that nobody here knows
	Note  Job
)

func (Half) WireType() string  { return "it.half@1" }
func (Whole) WireType() string { return "it.whole@1" }
func (Later) WireType() string { return "it.job@2" }
func (Alien) WireType() string { return "it.alien@1" }
func (Note) WireType() string  { return "it.note@1" }

// fate is what one sort of message goes through, and how it must end.
type fate struct {
	do   string
	send func(t *testing.T, p *parity, j Job)
	want string // "KIND AGENT DETAILS"; the job is added
	note bool   // a note is emitted beside, and ignored
}

// The handlers do what the message says; attempts are 1 + immediate + delayed.
var fates = []fate{
	{do: "pass", want: "sunk"},
	{do: "emit", want: "sunk", note: true},
	{do: "intake fails once", want: "sunk"},
	{do: "refine fails twice", want: "sunk"},
	{do: "sink fails twice", want: "sunk"},
	{do: "refine waits", want: "sunk"},
	{do: "intake rejects", want: "dead intake rejected attempts=1"},
	{do: "sink rejects", want: "dead sink rejected attempts=1"},
	{do: "refine fails", want: "dead refine exhausted attempts=3"},
	{do: "sink panics", want: "dead sink panic attempts=3"},
	{do: "refine hangs", want: "dead refine timeout attempts=3"},
	{do: "intake emits nowhere", want: "dead intake invalid attempts=3"},
	{do: "expired", want: "dropped intake expired", send: func(t *testing.T, p *parity, j Job) {
		t.Helper()
		p.publish(t, j, anywire.WithExpiry(time.Now().Add(-time.Minute)))
	}},
	{do: "unknown type", want: "dead intake unknown_type attempts=0", send: func(t *testing.T, p *parity, j Job) {
		t.Helper()
		p.publish(t, Alien(j))
	}},
	{do: "unknown version", want: "dead intake unknown_version attempts=0", send: func(t *testing.T, p *parity, j Job) {
		t.Helper()
		p.publish(t, Later(j))
	}},
	{do: "wrong payload", want: "dead intake undecodable attempts=1", send: func(t *testing.T, p *parity, j Job) {
		t.Helper()
		p.publish(t, envelope.Raw{Type: "it.job@1", Data: []byte(`{"Key": 4711}`)}, envelope.WithSubject(subject(j)))
	}},
	{do: "large", want: "dead intake too_large attempts=0", send: func(t *testing.T, p *parity, j Job) {
		t.Helper()
		p.publishLarge(t, j)
	}},
	{do: "raw", want: "dead intake invalid attempts=0", send: func(t *testing.T, p *parity, j Job) {
		t.Helper()
		p.publishRaw(t, j)
	}},
}

const bodyLimit = 4 << 10

// parity is one scenario: intake → refine → sink over three topics.
type parity struct {
	app   *anywire.App
	away  *transport.Transport // with higher limits: a stranger's
	raw   driver.Driver
	topic string // of intake, on the broker
	style driver.HeaderStyle

	sunk    journal[Job]
	dropped journal[router.Dropped]
	names   sync.Map // of messages, by their ids
}

// TestParity: a handler can rely on the same things on every transport. One
// scenario ends in one and the same log, which stands below.
func TestParity(t *testing.T) {
	t.Parallel()
	eachOrder(t, func(c *orderCase) {
		p := newParity(c.T, c.world, c.order)
		r := run(c.T, p.app)
		want := p.send(c.T, scale(3, 30))
		var diff string
		await(c.T, "the log is complete", func() bool {
			diff = difference(want, p.log(c.T))
			return diff == ""
		}, func() any { return diff })
		p.checkOrder(c.T, c.order)
		if err := r.stop(); err != nil {
			c.Errorf("drain: %v", err)
		}
	})
}

func newParity(t *testing.T, w *world, order string) *parity {
	t.Helper()
	policy := config.Policy{
		Retry: config.Retry{Immediate: new(1), Delayed: new(1), Backoff: value.Range{Min: value.Duration(10 * time.Millisecond), Max: value.Duration(20 * time.Millisecond)}},
	}
	// Only where something hangs: elsewhere a busy machine would make attempts.
	hasty := config.Policy{Timeout: value.Duration(400 * time.Millisecond)}
	o := w.options(&config.Config{
		Topics:   map[string]config.Topic{"halves": {Shards: 3}},
		Limits:   config.Limits{Body: bodyLimit},
		Defaults: policy,
		Agents: map[string]config.Agent{
			"intake": {Consumes: "in", Produces: "halves", Order: order},
			"refine": {Consumes: "halves", Produces: "wholes", Order: order, Policy: hasty},
			"sink":   {Consumes: "wholes", Order: order, Others: "ignore"},
		},
	})
	p := &parity{}
	o.Observe = func(e transport.Event) {
		if d, ok := e.(router.Dropped); ok {
			p.dropped.note(d)
		}
	}
	p.app = anywire.New(o)
	p.app.UsePublish(p.learn)
	anywire.Handle(p.app, "intake", func(ctx context.Context, j Job) (Half, error) {
		if j.Do == "intake emits nowhere" {
			return Half(j), errors.Join(anywire.Emit(ctx, Note(j), anywire.WithTopic("wholes"), anywire.WithExtension("Not A Name", "x")))
		}
		return Half(j), act(ctx, "intake", j)
	})
	anywire.Handle(p.app, "refine", func(ctx context.Context, j Half) (Whole, error) {
		if j.Do == "emit" {
			if err := anywire.Emit(ctx, Note(j), anywire.WithTopic("wholes")); err != nil {
				return Whole{}, err
			}
		}
		return Whole(j), act(ctx, "refine", Job(j))
	})
	anywire.Consume(p.app, "sink", func(ctx context.Context, j Whole) error {
		if err := act(ctx, "sink", Job(j)); err != nil {
			return err
		}
		p.sunk.note(Job(j))
		return nil
	})
	p.raw = w.stranger(t)
	p.topic = w.entry.Prefix + "in"
	p.style = p.raw.Capabilities().Headers
	p.away = transport.New(p.raw, &transport.Options{Prefix: w.entry.Prefix})
	return p
}

// act does what the job says that this agent is to do.
func act(ctx context.Context, agent string, j Job) error {
	what, ok := strings.CutPrefix(j.Do, agent+" ")
	if !ok {
		return nil
	}
	attempt := anywire.Envelope(ctx).Attempt
	switch what {
	case "fails once":
		return failUpTo(1, attempt)
	case "fails twice":
		return failUpTo(2, attempt)
	case "waits":
		if attempt == 1 {
			return anywire.RetryAfter(5*time.Millisecond, errors.New("not yet"))
		}
		return nil
	case "rejects":
		return anywire.Reject(errors.New("not wanted"))
	case "panics":
		panic("as told")
	case "hangs":
		<-ctx.Done()
		return ctx.Err()
	default:
		return errors.New("as told")
	}
}

func failUpTo(n, attempt int) error {
	if attempt <= n {
		return fmt.Errorf("attempt %d fails", attempt)
	}
	return nil
}

// send publishes every fate in turn and returns the log that must come of it.
func (p *parity) send(t *testing.T, rounds int) map[string]bool {
	t.Helper()
	want := map[string]bool{}
	for n := 1; n <= rounds; n++ {
		for i, f := range fates {
			j := Job{Key: fmt.Sprintf("k%d", i%5), N: n, Do: f.do}
			if f.send == nil {
				p.publish(t, j)
			} else {
				f.send(t, p, j)
			}
			want[f.want+": "+subject(j)] = true
			if f.note {
				want["dropped sink unknown_type: "+subject(j)] = true
			}
		}
	}
	return want
}

// subject names a job in the log, and in the message where its payload does not.
func subject(j Job) string { return fmt.Sprintf("%s/%d/%s", j.Key, j.N, j.Do) }

func (p *parity) publish(t *testing.T, v anywire.Typed, o ...anywire.SendOption) {
	t.Helper()
	switch j := v.(type) {
	case Job:
		o = append(o, anywire.WithKey(j.Key), envelope.WithSubject(subject(j)))
	case Later:
		o = append(o, anywire.WithKey(j.Key), envelope.WithSubject(subject(Job(j))))
	case Alien:
		o = append(o, anywire.WithKey(j.Key), envelope.WithSubject(subject(Job(j))))
	}
	if err := p.app.Publish(t.Context(), "in", v, o...); err != nil {
		t.Fatalf("publish %v: %v", v, err)
	}
}

// publishLarge first tries as the app would.
func (p *parity) publishLarge(t *testing.T, j Job) {
	t.Helper()
	e, err := envelope.New(envelope.Raw{Type: "it.job@1", Data: make([]byte, bodyLimit+1)}, envelope.WithSubject(subject(j)))
	if err != nil {
		t.Fatal(err)
	}
	err = p.app.Publish(t.Context(), "in", envelope.Raw{Type: "it.job@1", Data: e.Data})
	if !errors.Is(err, anywire.TooLarge) || !strings.Contains(err.Error(), "limits.body") {
		t.Errorf("publish over the limit: %v", err)
	}
	if err := p.away.Publish(t.Context(), "in", e); err != nil {
		t.Fatal(err)
	}
}

// publishRaw sends what is no envelope: there is no id.
func (p *parity) publishRaw(t *testing.T, j Job) {
	t.Helper()
	message := &driver.Message{
		Headers: []driver.Header{{Name: p.style.Prefix + "specversion", Value: "1.0"}, {Name: p.style.Prefix + "source", Value: "/x"}},
		Body:    []byte(subject(j)),
	}
	if err := p.raw.Publish(t.Context(), p.topic, []*driver.Message{message}); err != nil {
		t.Fatal(err)
	}
}

// log is what has become of the messages so far. Repeats count once: at least
// once is what transports promise.
func (p *parity) log(t *testing.T) map[string]bool {
	t.Helper()
	got := map[string]bool{}
	for _, j := range p.sunk.all() {
		got["sunk: "+subject(j)] = true
	}
	for _, d := range p.dropped.all() {
		name, _ := p.names.Load(d.ID)
		got[fmt.Sprintf("dropped %s %s: %v", d.Agent, d.Reason, name)] = true
	}
	for _, agent := range []string{"intake", "refine", "sink"} {
		for _, d := range browse(t, p.app, agent+".dead") {
			got[deadLetter(d)] = true
		}
	}
	return got
}

// learn notes the names of messages that are published, by their ids: events
// carry no payload.
func (p *parity) learn(next envelope.PublishFunc) envelope.PublishFunc {
	return func(ctx context.Context, e *envelope.Envelope) error {
		var j Note
		switch {
		case e.Subject != "":
			p.names.Store(e.ID, e.Subject)
		case e.Decode(&j) == nil:
			p.names.Store(e.ID, subject(Job(j)))
		}
		return next(ctx, e)
	}
}

func deadLetter(d *transport.Delivery) string {
	if d.DecodeErr != nil {
		return "a dead letter that cannot be read: " + d.DecodeErr.Error()
	}
	e := d.Envelope
	name := e.Subject
	var j Job
	switch {
	case name != "":
	case e.Type == router.RawType:
		name = string(e.Data)
	case e.Decode(&j) == nil:
		name = subject(j)
	}
	return fmt.Sprintf("dead %s %s attempts=%s: %s", e.Reserved(envelope.AttrDeadLetterAgent),
		e.Reserved(envelope.AttrDeadLetterReason), e.Reserved(envelope.AttrDeadLetterAttempts), name)
}

// difference lists what is missing and what is too much; empty: nothing.
func difference(want, got map[string]bool) string {
	var lines []string
	for _, line := range slices.Sorted(maps.Keys(want)) {
		if !got[line] {
			lines = append(lines, "- "+line)
		}
	}
	for _, line := range slices.Sorted(maps.Keys(got)) {
		if !want[line] {
			lines = append(lines, "+ "+line)
		}
	}
	return strings.Join(lines, "\n")
}

// checkOrder compares, key by key, the first completions at the end of the
// three hops with the order of publishing.
func (p *parity) checkOrder(t *testing.T, order string) {
	t.Helper()
	if order == "none" {
		return
	}
	place := map[string]int{}
	for i, f := range fates {
		place[f.do] = i
	}
	last := map[string]int{}
	seen := map[string]bool{}
	for _, j := range p.sunk.all() {
		if seen[subject(j)] {
			continue
		}
		seen[subject(j)] = true
		at := j.N*len(fates) + place[j.Do]
		if at < last[j.Key] {
			t.Errorf("key %s: %s completed after a later one", j.Key, subject(j))
		}
		last[j.Key] = max(at, last[j.Key])
	}
}
