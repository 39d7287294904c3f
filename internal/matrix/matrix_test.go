package matrix

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/drivertest"
)

var update = flag.Bool("update", false, "write the document anew from its table")

const file = "../../docs/transports.json"

// TestTheDocumentIsOfTheTable: docs/transports.md is never written by hand.
func TestTheDocumentIsOfTheTable(t *testing.T) {
	t.Parallel()
	m, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(Document(file), []byte(m.Markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(Document(file))
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != m.Markdown() {
		t.Errorf("%s is not what its table says: run make matrix", Document(file))
	}
}

// TestTheTableIsOfThisSuite: every column ran all cases that there are.
func TestTheTableIsOfThisSuite(t *testing.T) {
	t.Parallel()
	m, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	cases := drivertest.Cases()
	for _, c := range m.Columns {
		if c.Ran != len(cases) {
			t.Errorf("%s ran %d cases, and the suite has %d: run make matrix", c.Name, c.Ran, len(cases))
		}
		if len(c.Failed) > 0 {
			t.Errorf("%s failed %v", c.Name, c.Failed)
		}
		for name := range c.Skipped {
			if !isCase(name, cases) {
				t.Errorf("%s skipped %q, which is no case", c.Name, name)
			}
		}
	}
}

func isCase(name string, cases []drivertest.Case) bool {
	return slices.ContainsFunc(cases, func(c drivertest.Case) bool { return c.Name == name })
}

// TestProofsAreCases: a case that is renamed must not silently prove nothing.
func TestProofsAreCases(t *testing.T) {
	t.Parallel()
	cases := drivertest.Cases()
	for _, r := range slices.Concat(promises(), survivals(), bounds()) {
		for _, p := range r.proof {
			isTheme := strings.HasSuffix(p, "/") && slices.ContainsFunc(cases, func(c drivertest.Case) bool { return strings.HasPrefix(c.Name, p) })
			if !isTheme && !isCase(p, cases) {
				t.Errorf("%s: %q is neither a case nor a theme", r.title, p)
			}
		}
	}
}

func sample() Column {
	return Column{Package: "p/x", Report: drivertest.Report{
		Name: "x", Capabilities: driver.Capabilities{Durable: true, Order: true, MaxBody: 100}, Abilities: []string{"Leaser"},
		Ran: 7, Skipped: map[string]string{"settle/any-order": "needs Harness.Kill", "browse/all": "needs Browse"},
	}}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	m := &Matrix{Columns: []Column{sample()}}
	for want, change := range map[string]func(*Column){
		"":                     func(*Column) {},
		"its capabilities are": func(c *Column) { c.Capabilities.Counts = true },
		"optional interfaces":  func(c *Column) { c.Abilities = nil },
		"its cases are 6":      func(c *Column) { c.Ran = 6 },
		"its failed cases":     func(c *Column) { c.Failed = []string{"settle/ack"} },
		"its proofs":           func(c *Column) { c.Proofs = []string{ProofBrokerDeath} },
		"settle/ack is skipped": func(c *Column) {
			c.Skipped = map[string]string{"settle/any-order": "needs Harness.Kill", "browse/all": "needs Browse", "settle/ack": "known"}
		},
		"is not skipped": func(c *Column) { c.Skipped = nil },
		"because it known": func(c *Column) {
			c.Skipped = map[string]string{"settle/any-order": "known", "browse/all": "needs Browse"}
		},
		"is not in the table": func(c *Column) { c.Name = "y" },
	} {
		found := sample()
		change(&found)
		faults := strings.Join(m.Check([]Column{found}, nil), "\n")
		if (faults == "") != (want == "") || !strings.Contains(faults, want) {
			t.Errorf("want %q, found %q", want, faults)
		}
	}
	if faults := m.Check(nil, []string{"p/x"}); len(faults) != 1 {
		t.Errorf("a test that reports nothing: %q", faults)
	}
	if faults := m.Check(nil, []string{"p/y"}); len(faults) != 0 {
		t.Errorf("a test that did not run: %q", faults)
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	m := new(Matrix)
	y := sample()
	y.Name = "memory"
	m.Put(sample())
	m.Put(y)
	text := m.Markdown()
	for _, want := range []string{
		"|  | memory | x |", "| settling in any order | native (2 of 3 cases) | native (2 of 3 cases) |",
		"| order by key | emulated: shards get owners by leases |", "| delayed publish | refused |",
		"| largest message, with its headers | 100 |", "**x**, 2 of 7:", "- needs Browse: `browse/all`",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the document lacks %q:\n%s", want, text)
		}
	}
}

func TestCollector(t *testing.T) {
	t.Parallel()
	var c Collector
	x := sample()
	c.Take("p/x", "ok\n    a_test.go:1: "+x.String()+"\n")
	c.Take("p/x", (&drivertest.Report{Name: "x", Proof: ProofBrokerDeath}).String())
	c.Take("p/z", "drivertest: report: {")
	found, faults := c.Columns()
	if len(found) != 1 || found[0].Name != "x" || !slices.Equal(found[0].Proofs, []string{ProofBrokerDeath}) || found[0].Package != "p/x" {
		t.Errorf("found %+v", found)
	}
	if len(faults) != 1 {
		t.Errorf("faults are %q", faults)
	}
}
