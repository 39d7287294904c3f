package integration

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/all"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/router"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/natsdriver/embedded"
)

const (
	neighbours = 63
	// killerAttempts is how many attempts a message gets: so many deaths of the
	// killer's own, after the two that make it a suspect.
	killerAttempts = 3
)

// TestKillerAmongNeighbours: one message ends every process that handles it, and
// all that runs there dies along. It alone becomes a dead letter, after as many
// attempts as any message gets; its 63 neighbours are handled.
func TestKillerAmongNeighbours(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		killed(t, role{Dir: t.TempDir(), Lease: 10 * time.Minute, Journal: journalFile(t)})
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		killed(t, brokers["redis"].role(t, brokers["redis"].shared(t), "none", time.Second))
	})
}

func killed(t *testing.T, r role) {
	t.Helper()
	r.Killer = true
	first := r
	first.Publish = neighbours + 1
	c, deaths := spawn(t, first), 0
	await(t, "nothing is left", func() bool {
		select {
		case <-c.ended:
			if deaths++; deaths > 4*killerAttempts {
				t.Fatalf("the process died %d times", deaths)
			}
			c = spawn(t, r)
		default:
		}
		lines := linesOf(t, r.Journal)
		return beginning(lines, "done ") == neighbours && beginning(lines, "dead ") > 0
	}, func() any { return linesOf(t, r.Journal) })
	c.drain(t)
	lines := linesOf(t, r.Journal)
	if n := lines["start killer/0"]; n != deaths || n != 2+killerAttempts {
		t.Errorf("the killer ran %d times in %d processes that died, want %d", n, deaths, 2+killerAttempts)
	}
	if diedTwice(lines) == 0 {
		t.Error("no neighbour died twice beside it: this test shows nothing")
	}
	checkKillersLetter(t, r)
}

// diedTwice counts the neighbours that are suspects as well.
func diedTwice(lines map[string]int) int {
	n := 0
	for line, times := range lines {
		if strings.HasPrefix(line, "beside ") && times > 1 {
			n++
		}
	}
	return n
}

// checkKillersLetter wants one dead letter, and nothing left on the broker.
func checkKillersLetter(t *testing.T, r role) {
	t.Helper()
	app := anywire.New(&anywire.Options{Kinds: kinds(), Config: r.killerConfig()})
	defer func() {
		if err := app.Close(); err != nil {
			t.Error(err)
		}
	}()
	dead := browse(t, app, "worker.dead")
	if len(dead) != 1 {
		t.Fatalf("%d dead letters, want that of the killer", len(dead))
	}
	var j Job
	letter := dead[0].Envelope
	if err := letter.Decode(&j); err != nil || j.Key != "killer" || letter.Reserved(envelope.AttrDeadLetterReason) != string(envelope.Exhausted) ||
		letter.Reserved(envelope.AttrDeadLetterAttempts) != "3" {
		t.Errorf("%s, decoded %v, %v", deadLetter(dead[0]), j, err)
	}
	tr, err := app.Transport(bus)
	if err != nil {
		t.Fatal(err)
	}
	if lag, err := tr.Lag(t.Context(), "jobs", "worker"); err != nil || lag.Waiting+lag.Pending != 0 {
		t.Errorf("left on the broker: %+v, %v", lag, err)
	}
}

func (r role) killerConfig() *config.Config {
	entry := config.Transport{Kind: "embedded", Options: embedded.Options{Dir: r.Dir}}
	if b := brokers[r.Broker]; b != nil {
		entry = config.Transport{Kind: b.name, Prefix: r.Prefix, Options: b.options(r.URL, nil)}
	}
	return &config.Config{
		Transport: bus, Transports: map[string]config.Transport{bus: entry},
		Agents: map[string]config.Agent{"worker": {
			Consumes: "jobs",
			Policy: config.Policy{
				Concurrency: neighbours + 1, Lease: value.Duration(r.Lease),
				Retry: config.Retry{Immediate: new(0), Delayed: new(killerAttempts - 1)},
			},
		}},
	}
}

// playKiller handles jobs, of which one ends this process.
func (r role) playKiller(ctx context.Context, note func(format string, args ...any)) error {
	app := anywire.New(&anywire.Options{
		Kinds: all.Options().Kinds, Config: r.killerConfig(),
		Observe: func(e transport.Event) {
			if dead, ok := e.(router.DeadLettered); ok {
				note("dead %s", dead.ID)
			}
		},
	})
	var running atomic.Int64
	var dying atomic.Bool
	anywire.Consume(app, "worker", func(ctx context.Context, j Job) error {
		note("start %s/%d", j.Key, j.N)
		running.Add(1)
		defer running.Add(-1)
		if j.Do == "kill" {
			dying.Store(true)
			_ = pause(ctx, 100*time.Millisecond)
			os.Exit(1)
		}
		// In company it waits for the killer to come, which is company too.
		for looks := 0; looks == 0 || looks < 50 && running.Load() > 1 && !dying.Load(); looks++ {
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
		if dying.Load() { // and dies along
			note("beside %s/%d", j.Key, j.N)
			<-ctx.Done()
			return context.Cause(ctx)
		}
		note("done %s/%d", j.Key, j.N)
		return nil
	})
	for n := range r.Publish {
		j := Job{Key: "neighbour", N: n}
		if n == r.Publish/3 {
			j = Job{Key: "killer", Do: "kill"}
		}
		if err := app.Publish(ctx, "jobs", j); err != nil {
			return errors.Join(err, app.Close())
		}
	}
	return app.Run(ctx)
}
