package sqlstore_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/sqlstore"
)

// child is what another process of a test does with the same database.
type child struct {
	Dialect                       sqlstore.Dialect
	Driver, Source, Prefix, Point string
	Log                           string // what its relay has published, a line each
}

const childEnv = "ANYWIRE_SQLSTORE_CHILD"

// start runs this test binary as another process.
func (d *database) start(t *testing.T, point, log string) *exec.Cmd {
	t.Helper()
	what, err := json.Marshal(child{d.dialect, d.driver, d.source, d.prefix, point, log})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), childEnv+"="+string(what))
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// TestChild is the other process, and nothing otherwise.
func TestChild(t *testing.T) {
	what := os.Getenv(childEnv)
	if what == "" {
		t.Skip("only as the process that another test starts")
	}
	var c child
	if err := json.Unmarshal([]byte(what), &c); err != nil {
		t.Fatal(err)
	}
	d := &database{dialect: c.Dialect, driver: c.Driver, source: c.Source, prefix: c.Prefix}
	if c.Point == "relay" {
		d.relayInto(t, c.Log)
		return
	}
	d.crashAt(t, c.Point)
}

func die() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} }

// brief is a lease that the survivor can wait for.
const brief = 2 * time.Second

// crashAt handles message "a" and dies at a point on the way.
func (d *database) crashAt(t *testing.T, point string) {
	t.Helper()
	store := d.store(t, d.open(t))
	g := idempotency.NewGuard(store, &idempotency.Options{Lease: brief})
	work, v, err := g.Begin(t.Context(), message(t, "a"), false)
	if err != nil || work == nil {
		t.Fatal(v.State, err)
	}
	if point == "before the handler" {
		die()
	}
	outs, err := d.book(idempotency.NewContext(t.Context(), work), message(t, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if point == "before the commit" {
		die()
	}
	if err := work.Complete(t.Context(), outs); err != nil {
		t.Fatal(err)
	}
	if point == "before publishing" {
		die()
	}
	if err := g.Settle(t.Context(), work.Key()); err != nil {
		t.Fatal(err)
	}
	die() // before the acknowledgement
}

// TestCrash: wherever a process dies, the row is there once, and its outputs are
// those of the record.
func TestCrash(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		point   string
		again   bool // the handler runs once more
		outputs int  // that the survivor publishes
	}{
		{"before the handler", true, 1},
		{"before the commit", true, 1},
		{"before publishing", false, 1},
		{"before the acknowledgement", false, 0},
	} {
		t.Run(c.point, func(t *testing.T) {
			t.Parallel()
			databases(t, func(t *testing.T, d *database) {
				t.Helper()
				d.makeLedger(t)
				if err := d.start(t, c.point, "").Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
					t.Fatalf("the process ended with %v, want killed", err)
				}
				runs := 0
				handle := idempotency.Middleware(d.store(t, d.open(t)), nil)(func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
					runs++
					return d.book(ctx, in)
				})
				var outs []*envelope.Envelope
				eventually(t, "the survivor gets the message", func() bool {
					var err error
					outs, err = handle(t.Context(), message(t, "a"))
					if err != nil && !errors.Is(err, envelope.Retry) {
						t.Fatal(err)
					}
					return err == nil
				})
				if again := runs == 1; again != c.again || len(outs) != c.outputs {
					t.Errorf("the handler ran %d times, with %d outputs; want again %v, %d", runs, len(outs), c.again, c.outputs)
				}
				if n := d.ledger(t); n != 1 {
					t.Errorf("%d rows, want one", n)
				}
			})
		})
	}
}

// relayInto publishes into a file, and names the messages of a batch in one line
// before and in one after.
func (d *database) relayInto(t *testing.T, path string) {
	t.Helper()
	log, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	_ = d.store(t, d.open(t)).Relay(t.Context(), func(_ context.Context, es []*envelope.Envelope) error {
		for _, e := range es {
			if _, err := fmt.Fprintf(log, "%d %s %s\n", os.Getpid(), e.Key, e.ID); err != nil {
				return err
			}
			time.Sleep(time.Millisecond) // a broker takes time, in which a process can die
		}
		return nil
	}, &sqlstore.RelayOptions{Interval: 20 * time.Millisecond, Lease: 2 * time.Second, Batch: 16})
}

// TestRelaysRace: of two relays one works; it is killed again and again, and every
// row is published, in the order of its key, and deleted. What the dead had
// published and not deleted comes twice, with the same ids: a batch at most.
func TestRelaysRace(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		const keys, each, kills = 4, 120, 3
		log := filepath.Join(t.TempDir(), "published")
		db := d.open(t)
		s := d.store(t, db)
		wantLag(t, s, 0)
		relays := []*exec.Cmd{d.start(t, "relay", log), d.start(t, "relay", log)}
		killed := 0
		for i := range each {
			for k := range keys {
				publishAll(t, s, db, fmt.Sprintf("%d-%d k%d", k, i, k))
			}
			if (i+1)%(each/(kills+1)) != 0 || killed == kills {
				continue
			}
			killed++
			before := len(published(t, log))
			eventually(t, "something is published", func() bool { return len(published(t, log)) > before })
			lines := published(t, log)
			leader := lines[len(lines)-1].pid
			at := slices.IndexFunc(relays, func(r *exec.Cmd) bool { return fmt.Sprint(r.Process.Pid) == leader })
			if at < 0 {
				t.Fatalf("process %s has published, which is none of the relays", leader)
			}
			_ = relays[at].Process.Kill()
			_ = relays[at].Wait()
			relays[at] = d.start(t, "relay", log)
		}
		eventually(t, "the outbox is empty", func() bool { return d.number(t, "select count(*) from "+d.table("outbox")) == 0 })
		for _, r := range relays {
			_ = r.Process.Kill()
			_ = r.Wait()
		}
		next, twice := map[string]int{}, 0
		seen := map[string]bool{}
		for _, p := range published(t, log) {
			if seen[p.id] {
				twice++
				continue
			}
			seen[p.id] = true
			if want := fmt.Sprintf("%s-%d", strings.TrimPrefix(p.key, "k"), next[p.key]); p.id != want {
				t.Fatalf("%s was published where %s was due", p.id, want)
			}
			next[p.key]++
		}
		if len(seen) != keys*each || twice > kills*16 {
			t.Errorf("%d of %d published, %d twice; want all, and at most a batch for each of %d kills", len(seen), keys*each, twice, kills)
		}
		t.Logf("%d published, %d of them twice, %d kills", len(seen), twice, kills)
	})
}

type line struct{ pid, key, id string }

func published(t *testing.T, path string) (lines []line) {
	t.Helper()
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) == 3 {
			lines = append(lines, line{fields[0], fields[1], fields[2]})
		}
	}
	return lines
}
