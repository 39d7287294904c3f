package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/all"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/internal/faultproxy"
)

// Plan is what a run does.
type Plan struct {
	Transport string // redis, kafka, nats or embedded
	Seed      uint64
	For       time.Duration // of faults
	Lease     time.Duration // default 3 s, on Kafka 8 s
	Workers   int           // processes; default 3, embedded 1
	Keys      int           // default 8
	Rate      time.Duration // between tasks; default 5 ms
	Odds      float64       // of a crash at each crash point; default 1 in 400
	Break     string        // what is broken on purpose
	// Faults are done instead of those that follow from the seed, until ctx ends.
	Faults func(ctx context.Context, r *run)
	// LateWorkers come only when there is a backlog.
	LateWorkers bool
	Brisk       bool // faults come faster
	// Quiet is how long nothing may happen before the work counts as done.
	Quiet time.Duration // default 2 s
	// Patience is how long the work may take after everything has healed.
	Patience time.Duration // default 5 min
	History  string        // folder; default a temporary one
}

func (p Plan) filled() Plan {
	if p.Transport == kafkaKind { // whose group session is 6 s here
		setDefault(&p.Lease, 8*time.Second)
	}
	setDefault(&p.Lease, 3*time.Second)
	setDefault(&p.Workers, 3)
	if p.Transport == embeddedKind {
		p.Workers = 1
	}
	setDefault(&p.Keys, 8)
	setDefault(&p.Rate, 5*time.Millisecond)
	setDefault(&p.Odds, 1.0/400) // a negative one means never
	setDefault(&p.Quiet, 2*time.Second)
	setDefault(&p.Patience, 5*time.Minute)
	return p
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

const (
	embeddedKind = "embedded"
	redisKind    = "redis"
	natsKind     = "nats"
	kafkaKind    = "kafka"
)

// run is a plan at work.
type run struct {
	tb      testing.TB
	plan    Plan
	journal *journal
	service *service
	server  *brokertest.Server // nil: it is in the worker
	proxy   *faultproxy.Proxy  // between workers and broker; nil: none
	workers []*supervised
	entry   string       // where an embedded server listens
	sent    atomic.Int64 // effects that confirmed tasks cause
}

// Run does what plan says and judges it. The history stays in its folder.
func Run(tb testing.TB, plan Plan) *Verdict {
	tb.Helper()
	plan = plan.filled()
	if plan.History == "" {
		plan.History = tb.TempDir()
	}
	if err := os.MkdirAll(plan.History, 0o750); err != nil {
		tb.Fatal(err)
	}
	r := &run{tb: tb, plan: plan}
	var err error
	if r.journal, err = openJournal(plan.History, "harness"); err != nil {
		tb.Fatal(err)
	}
	defer r.journal.close()
	if r.service, err = startService(r.journal); err != nil {
		tb.Fatal(err)
	}
	defer r.service.close()
	r.play(r.role())
	history, err := readHistory(plan.History)
	if err != nil {
		tb.Fatal(err)
	}
	return Check(history)
}

// role starts the broker and says what a worker does on it.
func (r *run) role() role {
	o := map[string]any{}
	w := role{
		History: r.plan.History, Service: r.service.URL, Transport: r.plan.Transport,
		Odds: r.plan.Odds, Break: r.plan.Break, Lease: r.plan.Lease,
	}
	switch r.plan.Transport {
	case redisKind:
		var lines []string
		if r.plan.Break == forgetBroker {
			lines = []string{"appendonly no"}
		}
		r.server = brokertest.Redis(r.tb, lines...)
		r.proxy = faultproxy.New(r.tb, faultproxy.Redis, r.server.Addrs[0])
		o["url"] = strings.ReplaceAll(r.server.URL, r.server.Addrs[0], r.proxy.Addr())
	case natsKind:
		r.server = brokertest.NATS(r.tb)
		r.proxy = faultproxy.New(r.tb, faultproxy.NATS, r.server.Addrs[0])
		o["url"] = strings.ReplaceAll(r.server.URL, r.server.Addrs[0], r.proxy.Addr())
	case kafkaKind: // the broker tells clients its own address, past any proxy
		r.server = brokertest.Kafka(r.tb)
		o["brokers"] = strings.Split(r.server.URL, ",")
		w.Stores = map[string]string{"ledger": filepath.Join(r.tb.TempDir(), "records.db")}
	case embeddedKind:
		r.entry = freeAddress(r.tb)
		o["dir"], o["listen"] = r.tb.TempDir(), r.entry
	default:
		r.tb.Fatalf("chaos knows no transport %q: it knows redis, kafka, nats and embedded", r.plan.Transport)
	}
	text, err := json.Marshal(o)
	if err != nil {
		r.tb.Fatal(err)
	}
	w.Options = text
	return w
}

// freeAddress is one on which nobody listens.
func freeAddress(tb testing.TB) string {
	tb.Helper()
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// play runs the workload and the faults, heals, and waits for the end of the work.
func (r *run) play(w role) {
	if !r.plan.LateWorkers {
		r.startWorkers(w)
	}
	defer r.stopWorkers()
	ctx, stop := context.WithTimeout(r.tb.Context(), r.plan.For)
	defer stop()
	var producing sync.WaitGroup
	producing.Go(func() { r.produce(ctx, w) })
	if r.plan.Faults != nil {
		r.plan.Faults(ctx, r)
	} else {
		r.tease(ctx, r.plan.Seed)
	}
	producing.Wait()
	if r.plan.LateWorkers {
		r.startWorkers(w)
	}
	for _, each := range r.workers {
		each.calm()
	}
	r.awaitEnd()
}

func (r *run) startWorkers(w role) {
	for i := range r.plan.Workers {
		w.Name = "worker-" + strconv.Itoa(i)
		r.workers = append(r.workers, supervise(w))
	}
}

func (r *run) stopWorkers() {
	for _, w := range r.workers {
		if err := w.stop(); err != nil {
			r.tb.Error(err)
		}
	}
}

// awaitEnd returns when every effect has come and nothing more does, or when
// patience is over: the checker says what is missing.
func (r *run) awaitEnd() {
	deadline := time.Now().Add(r.plan.Patience)
	last, since := -1, time.Now()
	for time.Now().Before(deadline) {
		n := r.service.taken()
		if n != last {
			last, since = n, time.Now()
		}
		quiet := time.Since(since)
		if int64(n) >= r.sent.Load() && quiet > r.plan.Quiet || r.plan.Break != "" && quiet > 10*r.plan.Lease {
			return
		}
		if pause(r.tb.Context(), 50*time.Millisecond) != nil {
			return
		}
	}
}

// produce publishes the tasks of every key in order, from a process that no fault
// kills; the network's and the broker's faults reach it. What failed may have
// come: it is sent again until it is confirmed, under the same id.
func (r *run) produce(ctx context.Context, w role) {
	if r.entry != "" { // of an embedded server in the worker
		w.Transport, w.Options = natsKind, json.RawMessage(`{"url":"nats://`+r.entry+`"}`)
	}
	c, err := w.config(noRecords)
	if err != nil {
		r.tb.Error(err)
		return
	}
	app := anywire.New(&anywire.Options{Config: c, Kinds: all.Options().Kinds})
	var all sync.WaitGroup
	for k := range r.plan.Keys {
		all.Go(func() { r.produceKey(ctx, app, "k"+strconv.Itoa(k)) })
	}
	all.Wait()
	if err := app.Close(); err != nil {
		r.tb.Logf("close the producer: %v", err)
	}
}

func (r *run) produceKey(ctx context.Context, app *anywire.App, key string) {
	for n := 1; pause(ctx, r.plan.Rate*time.Duration(r.plan.Keys)) == nil; n++ {
		if !r.send(key, n, app) {
			return
		}
	}
}

// send publishes one task until it is confirmed: a later one of its key must not
// come before.
func (r *run) send(key string, n int, app *anywire.App) bool {
	id := fmt.Sprintf("%s-%d", key, n)
	deadline := time.Now().Add(r.plan.Patience)
	for time.Now().Before(deadline) {
		ctx, cancel := context.WithTimeout(r.tb.Context(), 5*time.Second)
		err := app.Publish(ctx, topicIn, Task{key, n}, envelope.WithID(id), anywire.WithKey(key))
		cancel()
		if err == nil {
			r.sent.Add(int64(len(parts)))
			r.journal.note(Event{What: published, Key: key, N: n, ID: id})
			return true
		}
		r.journal.note(Event{What: unknown, Key: key, N: n, ID: id, Detail: err.Error()})
		if pause(r.tb.Context(), 100*time.Millisecond) != nil {
			return false
		}
	}
	return false
}
