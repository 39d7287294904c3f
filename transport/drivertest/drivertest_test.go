package drivertest_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/anywire/anywire/transport/drivertest"
)

// TestSoundDriverPasses runs every case on a driver without a defect.
func TestSoundDriverPasses(t *testing.T) {
	t.Parallel()
	for _, c := range drivertest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := record(t, c, "")
				if r.Failed() || r.Skipped() {
					t.Errorf("failed %v, skipped %v:\n%s", r.Failed(), r.Skipped(), r.text())
				}
			})
		})
	}
}

// TestEachCaseCanFail runs every case on a driver that breaks its sentence and
// no other that the case relies on.
func TestEachCaseCanFail(t *testing.T) {
	t.Parallel()
	for _, c := range drivertest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := record(t, c, c.Name)
				if !r.Failed() {
					t.Errorf("passed on a driver that breaks %q:\n%s", c.Sentence, r.text())
				}
				t.Log(r.text())
			})
		})
	}
}

func TestCasesAreNamedOnce(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range drivertest.Cases() {
		theme, what, ok := strings.Cut(c.Name, "/")
		if !ok || theme == "" || what == "" {
			t.Errorf("case %q is not named theme/what", c.Name)
		}
		if seen[c.Name] {
			t.Errorf("two cases are named %q", c.Name)
		}
		if !strings.HasSuffix(c.Sentence, ".") {
			t.Errorf("case %s: %q is no sentence", c.Name, c.Sentence)
		}
		seen[c.Name] = true
	}
	if len(seen) < 40 {
		t.Errorf("%d cases, want at least 40", len(seen))
	}
}

func TestSkipsAreNamedAndCounted(t *testing.T) {
	t.Parallel()
	bad := drivertest.Unknown(map[string]string{"settle/ack": "a case", "settle/akc": "a slip"})
	if len(bad) != 1 || bad[0] != "settle/akc" {
		t.Errorf("unknown names are %v, want the slip", bad)
	}
	got := drivertest.Summary([]string{"a/b", "a/c", "a/d"}, map[string]string{"a/d": "needs Kill", "a/b": ""})
	if want := "drivertest: 3 cases, 2 skipped: a/b (skipped by the harness), a/d (needs Kill)"; got != want {
		t.Errorf("summary is %q, want %q", got, want)
	}
	if got := drivertest.Summary([]string{"a/b"}, nil); got != "drivertest: 1 cases, 0 skipped" {
		t.Errorf("summary without skips is %q", got)
	}
}

// TestRun goes the way of a driver's author, on the wall clock.
func TestRun(t *testing.T) {
	t.Parallel()
	h := harness(drivertest.Case{}, "")
	h.Skip = map[string]string{"settle/ack": "the test of skips"}
	h.OpenBounded = nil
	drivertest.Run(t, h)
}

func BenchmarkReference(b *testing.B) {
	drivertest.Benchmark(b, harness(drivertest.Case{}, ""))
}
