package storetest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// Run proves a store against the contract: one subtest per case. It returns when
// all have ended, and logs one line that counts the cases and names those that
// were skipped, with the reason. When not even a first claim acquires a record,
// it stops there.
func Run(t *testing.T, h Harness) {
	t.Helper()
	h = h.withDefaults()
	if h.Open == nil {
		t.Fatal("Harness.Open is nil: the suite needs a store")
	}
	cases := Cases()
	for _, name := range unknown(h.Skip, cases) {
		t.Errorf("Harness.Skip names %q, which is no case; Cases lists them", name)
	}
	skips := tally{skipped: map[string]string{}}
	defer func() { t.Log(skips.summary(h.Name)) }()
	for _, theme := range themes(cases) {
		t.Run(theme[0].theme(), func(t *testing.T) {
			for _, c := range theme {
				t.Run(c.what(), func(t *testing.T) { c.test(t, h, &skips) })
			}
		})
		if skips.hopeless() {
			t.Fatalf("%s failed: the other cases would only wait, and are not run", basic)
		}
	}
}

func (c Case) test(t *testing.T, h Harness, skips *tally) {
	t.Helper()
	if !c.alone {
		t.Parallel()
	}
	e := &env{h: h, name: c.Name}
	t.Cleanup(func() { skips.add(e, t.Skipped(), t.Failed()) })
	if !h.InProcess {
		e.TB = t
		e.start(c)
		return
	}
	synctest.Test(t, func(t *testing.T) {
		e.TB = t
		e.start(c)
	})
	if e.skipped != "" {
		t.SkipNow() // the bubble keeps its skips to itself
	}
}

func (c Case) theme() string {
	theme, _, _ := strings.Cut(c.Name, "/")
	return theme
}

func (c Case) what() string {
	_, what, _ := strings.Cut(c.Name, "/")
	return what
}

// themes splits cases where the first part of the name changes. Cases of one
// theme run side by side, themes one after the other.
func themes(cases []Case) [][]Case {
	var all [][]Case
	for _, c := range cases {
		last := len(all) - 1
		if last < 0 || all[last][0].theme() != c.theme() {
			all = append(all, []Case{c})
			continue
		}
		all[last] = append(all[last], c)
	}
	return all
}

// unknown are the names in skip that are no case.
func unknown(skip map[string]string, cases []Case) []string {
	names := slices.Sorted(maps.Keys(skip))
	return slices.DeleteFunc(names, func(name string) bool {
		return slices.ContainsFunc(cases, func(c Case) bool { return c.Name == name })
	})
}

// tally counts what ran and why cases were skipped.
type tally struct {
	mu      sync.Mutex
	ran     int
	skipped map[string]string // with the reason
	basic   bool              // whether the basic case failed
}

// basic is the case without which none can pass.
const basic = "claim/first-acquires"

func (s *tally) hopeless() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.basic
}

func (s *tally) add(e *env, skipped, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ran++
	s.basic = s.basic || failed && e.name == basic
	if skipped {
		s.skipped[e.name] = cmp.Or(e.skipped, "skipped by the harness")
	}
}

func (s *tally) summary(store string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := fmt.Sprintf("storetest: %s: %d cases, %d skipped", cmp.Or(store, "a store"), s.ran, len(s.skipped))
	if len(s.skipped) == 0 {
		return line
	}
	names := slices.Sorted(maps.Keys(s.skipped))
	for i, name := range names {
		names[i] = name + " (" + s.skipped[name] + ")"
	}
	return line + ": " + strings.Join(names, ", ")
}
