package drivertest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/anywire/anywire/transport/driver"
)

// Report is what [Run] found out about a driver whose Harness has a Name: what it
// says of itself, and which cases do not stand behind that. Run logs it as one
// line, which [ParseReport] reads; tables in the documentation are made of it.
type Report struct {
	// Name is that of the harness.
	Name string `json:"Name"`
	// Capabilities are the driver's.
	Capabilities driver.Capabilities `json:"Capabilities,omitzero"`
	// Abilities are the optional interfaces of package driver that it has, by name.
	Abilities []string `json:"Abilities,omitempty"`
	// Ran is how many cases were started, those that were skipped included. It is
	// less than there are where some were chosen with -run.
	Ran int `json:"Ran,omitempty"`
	// Skipped are cases with the reason.
	Skipped map[string]string `json:"Skipped,omitempty"`
	// Failed are cases.
	Failed []string `json:"Failed,omitempty"`

	// Proof is the only other field of a line that [Prove] logs.
	Proof string `json:"Proof,omitempty"`
}

const marker = "drivertest: report: "

// String is the line that [ParseReport] reads.
func (r *Report) String() string {
	text, err := json.Marshal(r)
	if err != nil {
		return marker + err.Error() // nothing in it can fail
	}
	return marker + string(text)
}

// ParseReport reads a report out of a line of a test's output. Nil: there is none
// in it.
func ParseReport(line string) (*Report, error) {
	_, text, ok := strings.Cut(line, marker)
	if !ok {
		return nil, nil
	}
	r := new(Report)
	if err := json.Unmarshal([]byte(text), r); err != nil {
		return nil, fmt.Errorf("report of drivertest: %w", err)
	}
	return r, nil
}

// Prove notes, once tb has passed, that a test beside the suite proves something
// of the driver of that name, in the words of the documentation's table.
func Prove(tb testing.TB, name, proof string) {
	tb.Helper()
	tb.Cleanup(func() {
		tb.Helper()
		if !tb.Failed() && !tb.Skipped() {
			tb.Log(&Report{Name: name, Proof: proof})
		}
	})
}

// report asks a driver of its own for what it says of itself.
func (s *tally) report(t *testing.T, h Harness) *Report {
	t.Helper()
	d := h.Open(t)
	defer func() {
		if err := d.Close(t.Context()); err != nil {
			t.Logf("closing the driver: %v", err)
		}
	}()
	caps := d.Capabilities()
	if h.Documented != nil {
		caps = *h.Documented
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Report{
		Name: h.Name, Capabilities: caps, Abilities: abilitiesOf(d),
		Ran: s.ran, Skipped: s.skipped, Failed: s.failed,
	}
}

// abilitiesOf lists the optional interfaces of a driver.
func abilitiesOf(d driver.Driver) []string {
	var all []string
	note := func(name string, has bool) {
		if has {
			all = append(all, name)
		}
	}
	_, admin := d.(driver.Admin)
	_, browser := d.(driver.Browser)
	_, inspector := d.(driver.Inspector)
	_, lagger := d.(driver.Lagger)
	_, leaser := d.(driver.Leaser)
	_, native := d.(driver.Native)
	_, pinger := d.(driver.Pinger)
	note("Admin", admin)
	note("Browser", browser)
	note("Inspector", inspector)
	note("Lagger", lagger)
	note("Leaser", leaser)
	note("Native", native)
	note("Pinger", pinger)
	return all
}
