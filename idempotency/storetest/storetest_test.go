package storetest_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/storetest"
)

// TestSoundStorePasses runs every case on a store without a defect.
func TestSoundStorePasses(t *testing.T) {
	t.Parallel()
	for _, c := range storetest.Cases() {
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

// TestEachCaseCanFail runs every case on stores that break its sentence and no
// other that the case relies on.
func TestEachCaseCanFail(t *testing.T) {
	t.Parallel()
	for _, c := range storetest.Cases() {
		for _, broken := range append([]string{c.Name}, variants[c.Name]...) {
			t.Run(broken, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := record(t, c, broken)
					if !r.Failed() {
						t.Errorf("passed on a store that breaks %q:\n%s", c.Sentence, r.text())
					}
					t.Log(r.text())
					<-time.After(2 * time.Hour) // for what a defect keeps waiting
				})
			})
		}
	}
}

func TestCasesAreNamedOnce(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range storetest.Cases() {
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
	for name := range variants {
		if !seen[name] {
			t.Errorf("variants of %s, which is no case", name)
		}
	}
	if len(seen) < 80 {
		t.Errorf("%d cases, want at least 80", len(seen))
	}
}

func TestSkipsAreNamedAndCounted(t *testing.T) {
	t.Parallel()
	bad := storetest.Unknown(map[string]string{"claim/until": "a case", "claim/untli": "a slip"})
	if len(bad) != 1 || bad[0] != "claim/untli" {
		t.Errorf("unknown names are %v, want the slip", bad)
	}
	got := storetest.Summary([]string{"a/b", "a/c", "a/d"}, map[string]string{"a/d": "needs Forget", "a/b": ""})
	if want := "storetest: mine: 3 cases, 2 skipped: a/b (skipped by the harness), a/d (needs Forget)"; got != want {
		t.Errorf("summary is %q, want %q", got, want)
	}
	if got := storetest.Summary([]string{"a/b"}, nil); got != "storetest: mine: 1 cases, 0 skipped" {
		t.Errorf("summary without skips is %q", got)
	}
}

// TestRun goes the way of a store's author, on the wall clock.
func TestRun(t *testing.T) {
	t.Parallel()
	h := harness("")
	h.Skip = map[string]string{"claim/until": "the test of skips"}
	storetest.Run(t, h)
}

// TestRunInProcess goes the way of the author of a store in the process.
func TestRunInProcess(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Harness{
		Name: "in process", InProcess: true,
		Open: func(testing.TB) idempotency.Store { return &view{server: newServer("")} },
	})
}
