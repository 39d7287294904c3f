package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/internal/brokertest"
)

// window is a place at which an agent's process is killed, and what that may cost.
type window struct {
	place string
	agent string // whose process it is, where each has its own
	// askedAgain: the bank is asked for charges that it has made. Not so, an order
	// whose charge was asked for is never asked for again.
	askedAgain bool
	// scoredAgain: a score may be asked for again.
	scoredAgain bool
}

var windows = []window{
	{place: inScore, agent: charger, scoredAgain: true},
	{place: beforeCharge, agent: charger},
	{place: inCharge, agent: charger, askedAgain: true},
	{place: afterCharge, agent: charger, askedAgain: true},
	{place: afterRecord, agent: charger},
	{place: afterPublish, agent: charger},
	{place: beforeRow, agent: bookkeeper},
	{place: afterRow, agent: bookkeeper},
	{place: afterBooking, agent: bookkeeper},
}

// place of several processes: broker is where they meet.
type place struct {
	name, file, env string
	server          func(testing.TB) *brokertest.Server
}

var places = []place{
	{"redis", "redis.yaml", "REDIS_URL", brokertest.SharedRedis},
	{"nats", "nats.yaml", "NATS_URL", brokertest.SharedNATS},
}

// The process of an agent is killed at each of its crash points, twice, and
// started again: every customer is charged once and has one row in the ledger.
func TestKilledAtEachCrashPoint(t *testing.T) {
	t.Parallel()
	for _, w := range windows {
		for _, p := range places {
			t.Run(p.name+"/"+w.place, func(t *testing.T) {
				t.Parallel()
				k := newKilling(t, w, p.file, p.env+"="+p.server(t).URL)
				k.apart()
				k.check(w.askedAgain, w.scoredAgain)
			})
		}
		t.Run("embedded/"+w.place, func(t *testing.T) {
			t.Parallel()
			k := newKilling(t, w, "embedded.yaml")
			k.together()
			// The other agent dies with it, wherever it is.
			k.check(w.askedAgain || w.agent == bookkeeper, w.scoredAgain || w.agent == bookkeeper)
		})
	}
}

// A process that dies while it publishes orders is started again with the same
// file: what it had published is no second order.
func TestKilledWhilePublishing(t *testing.T) {
	t.Parallel()
	k := newKilling(t, window{place: afterOrder}, "embedded.yaml")
	k.together()
	k.check(true, true)
}

// killing is one run of a program whose processes die.
type killing struct {
	*testing.T

	window window
	bank   *bank
	data   string
	orders string
	args   []string
	env    []string
	victim atomic.Pointer[process]
}

// count is how many orders there are.
const count = 6

func newKilling(t *testing.T, w window, file string, env ...string) *killing {
	t.Helper()
	// One order at a time, so that what a death may repeat is known.
	overlay := "version: 1\ndefaults: { lease: 2s, concurrency: 1 }\n"
	if name := strings.TrimSuffix(file, ".yaml"); name != "embedded" {
		overlay += "transports: { " + name + ": { prefix: " + prefix() + " } }\n"
	}
	k := &killing{T: t, window: w, bank: newBank(t, calm), data: t.TempDir(), orders: ordersFile(t, count)}
	k.args = []string{"-c", file, "-c", write(t, "overlay.yaml", overlay)}
	k.env = append(slices.Clone(env), "CHARGES_DATA="+k.data, "PAYMENTS_URL="+k.bank.URL, scores+"="+filepath.Join(k.data, "scores"))
	if w.place == inCharge {
		kill := func() {
			if p := k.victim.Swap(nil); p != nil {
				_ = p.Process.Kill()
				<-p.ended // so that nobody hears of the charge that is made now
			}
		}
		k.bank.then.Store(&kill)
	}
	return k
}

// prefix keeps a test's topics and records apart on a server that tests share.
func prefix() string { return "ch" + strings.ReplaceAll(envelope.NewID(), "-", "") + "." }

// doomed starts a process that is killed when it comes by the place for the nth
// time, and waits for that.
func (k *killing) doomed(nth int, args ...string) {
	k.Helper()
	p := start(k.T, strconv.Itoa(nth)+" "+k.window.place, k.env, append(k.args, args...)...)
	k.victim.Store(p)
	p.mustDie(k.T)
}

// together has everything in one process.
func (k *killing) together() {
	k.Helper()
	k.doomed(1, "-in", k.orders)
	k.doomed(2, "-in", k.orders)
	k.finish(start(k.T, "", k.env, append(k.args, "-in", k.orders)...))
}

// apart has one agent in a process that dies, and all else in another that lives.
func (k *killing) apart() {
	k.Helper()
	other := charger
	if k.window.agent == charger {
		other = bookkeeper
	}
	job := start(k.T, "", k.env, append(k.args, "-agents", other, "-in", k.orders)...)
	k.doomed(1, "-agents", k.window.agent, "-work")
	k.doomed(2, "-agents", k.window.agent, "-work")
	worker := start(k.T, "", k.env, append(k.args, "-agents", k.window.agent, "-work")...)
	k.finish(job)
	if err := worker.Process.Signal(syscall.SIGTERM); err != nil {
		k.Fatal(err)
	}
	if code := worker.code(k.T); code != 0 {
		k.Errorf("the worker's exit code %d:\n%s", code, &worker.err)
	}
}

func (k *killing) finish(job *process) {
	k.Helper()
	if code := job.code(k.T); code != 0 {
		k.Fatalf("exit code %d:\n%s%s", code, &job.out, &job.err)
	}
	wantClosing(k.T, job.out.String(), count, count, 0, count, 0)
	// What the dead ones had comes again, if only to be acknowledged.
	rest := start(k.T, "", append(k.env, untilQuiet+"=1"), append(k.args, "-work")...)
	if code := rest.code(k.T); code != 0 {
		k.Fatalf("exit code %d:\n%s%s", code, &rest.out, &rest.err)
	}
}

func (k *killing) check(askedAgain, scoredAgain bool) {
	k.Helper()
	wantOnce(k.T, k.bank.file, filepath.Join(k.data, "ledger.jsonl"), count)
	asked := int(k.bank.asked.Load())
	if asked < count || !askedAgain && asked != count {
		k.Errorf("the bank was asked %d times for %d charges", asked, count)
	}
	if k.window.askedAgain && asked == count {
		k.Error("the bank was asked once for each charge: the deaths were elsewhere")
	}
	text, err := os.ReadFile(filepath.Join(k.data, "scores"))
	if err != nil {
		k.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n < count || !scoredAgain && n != count {
		k.Errorf("%d scores were asked for, want %d", n, count)
	}
}
