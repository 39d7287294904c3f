package matrix

import (
	"fmt"
	"slices"
	"strings"

	"github.com/anywire/anywire/transport/drivertest"
)

// Collector gathers reports from the output of tests. The zero value is ready.
type Collector struct {
	reports map[string]Column
	proofs  map[string][]string // by name of the column
	faults  []string
}

// Take reads what a test of a package wrote, which has passed.
func (c *Collector) Take(pkg, output string) {
	for line := range strings.Lines(output) {
		report, err := drivertest.ParseReport(line)
		switch {
		case err != nil:
			c.faults = append(c.faults, fmt.Sprintf("%s: %v", pkg, err))
		case report == nil:
		case report.Proof != "":
			c.prove(report.Name, report.Proof)
		default:
			c.report(Column{Package: pkg, Report: *report})
		}
	}
}

func (c *Collector) prove(name, proof string) {
	if c.proofs == nil {
		c.proofs = map[string][]string{}
	}
	if !slices.Contains(c.proofs[name], proof) {
		c.proofs[name] = append(c.proofs[name], proof)
		slices.Sort(c.proofs[name])
	}
}

func (c *Collector) report(found Column) {
	if c.reports == nil {
		c.reports = map[string]Column{}
	}
	if before, twice := c.reports[found.Name]; twice {
		for _, fault := range differences(before, found) {
			c.faults = append(c.faults, fmt.Sprintf("%s: %s and %s report it, and differ: %s", found.Name, before.Package, found.Package, fault))
		}
		return
	}
	c.reports[found.Name] = found
}

// Columns are what was found, by name, and what is wrong with the reports
// themselves.
func (c *Collector) Columns() (found []Column, faults []string) {
	m := new(Matrix)
	for name, column := range c.reports {
		column.Proofs = c.proofs[name]
		m.Put(column)
	}
	return m.Columns, c.faults
}
