package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport/driver"
)

// TestPlainTopics: what a client writes that knows no CloudEvents is handled where
// its topic says of which type it is, and elsewhere is a dead letter; what an agent
// answers such a client can read.
func TestPlainTopics(t *testing.T) {
	t.Parallel()
	eachOrder(t, func(c *orderCase) {
		p := newPlainWorld(c.T, c.world, c.order)
		r := run(c.T, p.app)
		await(c.T, "the agent reads", p.ready)
		p.write(c.T, "in", "uuid", driver.Header{Name: envelope.MetadataUUID, Value: "u-1"},
			driver.Header{Name: "correlation_id", Value: "c-1"}, driver.Header{Name: "Tenant", Value: "acme"})
		p.write(c.T, "in", "bare")
		p.write(c.T, "in", "fails once")
		p.write(c.T, "in", "rejected")
		p.write(c.T, "strict", "undecodable")
		await(c.T, "everything has ended", func() bool {
			return len(p.seen()) == 4 && p.times("fails once") > 1 && len(browse(c.T, r.App, "reader.dead")) > 0 && len(browse(c.T, r.App, "strict.dead")) > 0
		}, func() any { return p.seen() })
		p.check(c.T, r)
	})
}

// plainWorld has an agent on a plain topic and one on a topic that is none.
type plainWorld struct {
	app      *anywire.App
	stranger driver.Driver
	style    driver.HeaderStyle
	prefix   string
	twice    bool               // the broker itself stores messages twice, at two places
	ids      journal[[2]string] // what was handled: body and id
	metadata journal[map[string]string]
}

func newPlainWorld(t *testing.T, w *world, order string) *plainWorld {
	t.Helper()
	p := &plainWorld{stranger: w.stranger(t), prefix: w.entry.Prefix, twice: w.duplicates}
	p.style = p.stranger.Capabilities().Headers
	p.app = anywire.New(w.options(&config.Config{
		Topics: map[string]config.Topic{"in": {Plain: "it.job@1"}, "out": {Plain: "it.half@1"}},
		Defaults: config.Policy{Retry: config.Retry{
			Immediate: new(0), Delayed: new(2), Backoff: value.Range{Min: value.Duration(time.Millisecond), Max: value.Duration(time.Millisecond)},
		}},
		Agents: map[string]config.Agent{
			"reader": {Consumes: "in", Produces: "out", Order: order},
			"strict": {Consumes: "strict", Order: order},
		},
	}))
	anywire.Handle(p.app, "reader", p.handle)
	anywire.Consume(p.app, "strict", func(context.Context, Job) error { return nil })
	return p
}

func (p *plainWorld) handle(ctx context.Context, j Job) (Half, error) {
	in := anywire.Envelope(ctx)
	p.ids.note([2]string{j.Do, in.ID})
	switch {
	case j.Do == "uuid":
		p.metadata.note(in.Metadata())
	case j.Do == "fails once" && p.times(j.Do) == 1:
		return Half{}, errors.New("the first time")
	case j.Do == "rejected":
		return Half{}, anywire.Reject(errors.New("no"))
	}
	return Half(j), nil
}

func (p *plainWorld) times(do string) int {
	n := 0
	for _, one := range p.ids.all() {
		if one[0] == do {
			n++
		}
	}
	return n
}

// seen is the ids by body: one each, however often a message came.
func (p *plainWorld) seen() map[string][]string {
	ids := map[string][]string{}
	for _, one := range p.ids.all() {
		if !slices.Contains(ids[one[0]], one[1]) {
			ids[one[0]] = append(ids[one[0]], one[1])
		}
	}
	return ids
}

// ready reports whether both agents subscribed: a group starts at the oldest, but
// on a topic that exists.
func (p *plainWorld) ready() bool {
	health := p.app.Health()
	return health.Ready
}

// write publishes as a client does that knows nothing of us.
func (p *plainWorld) write(t *testing.T, topic, do string, headers ...driver.Header) {
	t.Helper()
	body := fmt.Appendf(nil, `{"Key":"k","Do":%q}`, do)
	if err := p.stranger.Publish(t.Context(), p.prefix+topic, []*driver.Message{{Headers: headers, Body: body}}); err != nil {
		t.Fatal(err)
	}
}

func (p *plainWorld) check(t *testing.T, r *running) {
	t.Helper()
	ids := p.seen()
	for do, all := range ids {
		if len(all) != 1 && !p.twice {
			t.Errorf("message %q came under the ids %q: a redelivery must have the same", do, all)
		}
	}
	if ids["uuid"][0] != "u-1" {
		t.Errorf("the id of the one with a UUID is %q", ids["uuid"])
	}
	want := map[string]string{"correlation_id": "c-1", "Tenant": "acme"}
	if got := p.metadata.all()[0]; !maps.Equal(got, want) {
		t.Errorf("the handler sees metadata %q, want %q", got, want)
	}
	p.checkDead(t, r, ids["rejected"])
	await(t, "the answers are there", func() bool { return len(p.answers(t)) >= 3 })
	for _, a := range p.answers(t) {
		if a.ID == "" || a.CorrelationID == "" || len(a.Data) == 0 {
			t.Errorf("a plain client reads the answer %+v", a)
		}
	}
}

func (p *plainWorld) checkDead(t *testing.T, r *running, rejected []string) {
	t.Helper()
	for _, d := range browse(t, r.App, "reader.dead") {
		if !slices.Contains(rejected, d.Envelope.ID) || d.Envelope.Type != "it.job" || d.Envelope.Source != "/topics/in" {
			t.Errorf("dead letter %v", d.Envelope)
		}
	}
	for _, d := range browse(t, r.App, "strict.dead") {
		if d.Envelope.Type != "anywire.raw" || string(d.Envelope.Data) != `{"Key":"k","Do":"undecodable"}` {
			t.Errorf("dead letter %v: %s", d.Envelope, d.Envelope.Data)
		}
	}
}

// answers are what a client makes of the answers that reads no attributes.
func (p *plainWorld) answers(t *testing.T) []*envelope.Envelope {
	t.Helper()
	browser, ok := reader(t, p.app).Driver().(driver.Browser)
	if !ok || p.stranger.Capabilities().InProcess {
		return p.inProcess(t)
	}
	// A binding of another prefix sees no attributes, only what is plain.
	plain, err := envelope.NewPlain(envelope.NewBinding("none-", "", p.style.Percent), "out", "it.half@1", p.style.Fields)
	if err != nil {
		t.Fatal(err)
	}
	var all []*envelope.Envelope
	err = browser.Browse(t.Context(), p.prefix+"out", driver.Start{}, false, func(m *driver.Message) bool {
		e := new(envelope.Envelope)
		if err := plain.Decode(m.Headers, m.Body, "", e); err != nil {
			t.Errorf("a plain client cannot read %q: %v", m.Headers, err)
		}
		all = append(all, e)
		return true
	})
	if err != nil && !errors.Is(err, driver.ErrNotFound) {
		t.Fatal(err)
	}
	return all
}

// inProcess are the answers where a message is no headers and bytes.
func (p *plainWorld) inProcess(t *testing.T) []*envelope.Envelope {
	t.Helper()
	var all []*envelope.Envelope
	for _, d := range browse(t, p.app, "out") {
		all = append(all, d.Envelope)
	}
	return all
}
