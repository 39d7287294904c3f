package chaos

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/anywire/anywire/internal/brokertest"
)

// What `make chaos` sets; without them a short run on each transport.
var (
	seconds    = flag.Int("chaos.seconds", 0, "how long faults go on in each run; 0: a few seconds")
	seeds      = flag.String("chaos.seeds", "1", "seeds of runs, with commas")
	transports = flag.String("chaos.transports", "redis,kafka,nats,embedded", "transports, with commas")
	keep       = flag.String("chaos.history", "", "folder for histories and timelines; empty: only of runs that fail, in build/chaos")
)

func TestMain(m *testing.M) {
	if code, played := PlayRole(); played {
		os.Exit(code)
	}
	goleak.VerifyTestMain(brokertest.Runner(m))
}

// Runs come one after the other: each has processes of its own, and two cores have
// enough with those of one.
func TestChaos(t *testing.T) {
	skipUnderRace(t)
	for name := range strings.SplitSeq(*transports, ",") {
		for text := range strings.SplitSeq(*seeds, ",") {
			seed, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				t.Fatalf("seed %q is no number", text)
			}
			t.Run(name+"/"+text, func(t *testing.T) { chaos(t, name, seed) })
		}
	}
}

// skipUnderRace leaves runs to a program without the race detector, as it works in
// production: `make test` runs them so.
func skipUnderRace(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip("runs without the race detector")
	}
}

func chaos(t *testing.T, name string, seed uint64) {
	t.Helper()
	plan := Plan{Transport: name, Seed: seed, For: 6 * time.Second, Odds: 1.0 / 150, Brisk: true, History: t.TempDir()}
	if *seconds > 0 {
		plan.For, plan.Odds, plan.Brisk, plan.Patience = time.Duration(*seconds)*time.Second, 0, false, 10*time.Minute
	}
	v := Run(t, plan)
	t.Logf("%s, seed %d:\n%v", name, seed, v)
	if !v.Holds() {
		t.Error("a promise is broken")
	}
	if v.Published == 0 || v.Effects == 0 {
		t.Error("nothing happened")
	}
	if void := v.Void(); len(void) > 0 && *seconds > 0 {
		t.Errorf("the run is void: it did not meet %s", strings.Join(void, ", "))
	}
	save(t, plan.History, name, seed)
}

// save keeps the history of a run that failed, or of every run.
func save(t *testing.T, from, name string, seed uint64) {
	t.Helper()
	dir := *keep
	if dir == "" && !t.Failed() {
		return
	}
	if dir == "" {
		dir = filepath.Join("..", "..", "build", "chaos")
	}
	dir = filepath.Join(dir, name+"-"+strconv.FormatUint(seed, 10))
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o750); err != nil {
		t.Error(err)
	}
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Error(err)
	}
	history, err := readHistory(dir)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := os.Create(dir + ".svg")
	if err != nil {
		t.Fatal(err)
	}
	title := fmt.Sprintf("%s, seed %d: effects and faults", name, seed)
	if err := errors.Join(Timeline(picture, title, history), picture.Close()); err != nil {
		t.Error(err)
	}
	t.Logf("history in %s, timeline in %s.svg", dir, dir)
}
