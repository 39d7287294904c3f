package storetest

import "testing"

// RunCase runs one case on tb, which need not be a *testing.T.
func RunCase(tb testing.TB, h Harness, c Case) {
	tb.Helper()
	(&env{TB: tb, h: h.withDefaults(), name: c.Name}).start(c)
}

// Unknown are the names in skip that are no case.
func Unknown(skip map[string]string) []string { return unknown(skip, Cases()) }

// Summary is what Run logs when these cases ran and these were skipped.
func Summary(ran []string, skipped map[string]string) string {
	all := tally{skipped: map[string]string{}}
	for _, name := range ran {
		reason, ok := skipped[name]
		all.add(&env{name: name, skipped: reason}, ok, false)
	}
	return all.summary("mine")
}
