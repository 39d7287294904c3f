package matrix

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/anywire/anywire/transport/drivertest"
)

// Column is what the suite found out about one transport, and the package whose
// test it was.
type Column struct {
	drivertest.Report

	// Package is whose test reported it.
	Package string `json:"Package"`
	// Proofs are what tests beside the suite prove.
	Proofs []string `json:"Proofs,omitempty"`
}

// Matrix is the columns of the table, in its order.
type Matrix struct {
	Columns []Column `json:"Columns"`
}

// order is that of the columns; others follow by name.
func order(name string) int {
	known := [...]string{"memory", "embedded", "nats", "redis", "kafka", "watermill-redisstream", "watermill-kafka"}
	if at := slices.Index(known[:], name); at >= 0 {
		return at
	}
	return len(known)
}

// Load reads a file that Save wrote. One that does not exist is an empty table.
func Load(file string) (*Matrix, error) {
	text, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return new(Matrix), nil
	}
	if err != nil {
		return nil, fmt.Errorf("matrix: %w", err)
	}
	m := new(Matrix)
	if err := json.Unmarshal(text, m); err != nil { //nolint:musttag // capabilities go by the names of their fields
		return nil, fmt.Errorf("matrix: %s: %w", file, err)
	}
	return m, nil
}

// Save writes the table to file, and the document made of it beside that.
func (m *Matrix) Save(file string) error {
	text, err := json.MarshalIndent(m, "", "\t") //nolint:musttag // as in Load
	if err != nil {
		return fmt.Errorf("matrix: %w", err)
	}
	for name, content := range map[string]string{file: string(text) + "\n", Document(file): m.Markdown()} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil { //nolint:gosec // documentation
			return fmt.Errorf("matrix: %w", err)
		}
	}
	return nil
}

// Document is the file of the table that people read.
func Document(file string) string { return strings.TrimSuffix(file, filepath.Ext(file)) + ".md" }

// Put replaces the column of a name, or adds it.
func (m *Matrix) Put(c Column) {
	m.Columns = slices.DeleteFunc(m.Columns, func(old Column) bool { return old.Name == c.Name })
	m.Columns = append(m.Columns, c)
	slices.SortFunc(m.Columns, func(a, b Column) int {
		return cmp.Or(cmp.Compare(order(a.Name), order(b.Name)), strings.Compare(a.Name, b.Name))
	})
}

func (m *Matrix) find(name string) (Column, bool) {
	at := slices.IndexFunc(m.Columns, func(c Column) bool { return c.Name == name })
	if at < 0 {
		return Column{}, false
	}
	return m.Columns[at], true
}

// Check compares what tests found out with the table, and lists what differs.
// Packages are those whose tests ran: the columns of others are not expected.
func (m *Matrix) Check(found []Column, packages []string) []string {
	var faults []string
	for _, c := range found {
		has, ok := m.find(c.Name)
		if !ok {
			faults = append(faults, c.Name+": is not in the table")
			continue
		}
		for _, fault := range differences(has, c) {
			faults = append(faults, c.Name+": "+fault)
		}
	}
	for _, c := range m.Columns {
		missing := !slices.ContainsFunc(found, func(f Column) bool { return f.Name == c.Name })
		if missing && slices.Contains(packages, c.Package) {
			faults = append(faults, fmt.Sprintf("%s: %s ran and does not report it", c.Name, c.Package))
		}
	}
	return faults
}

// differences lists what a run found other than the table says.
func differences(has, found Column) []string {
	var faults []string
	differ := func(what string, a, b any) {
		if x, y := text(a), text(b); x != y {
			faults = append(faults, fmt.Sprintf("%s are %s, and in the table %s", what, y, x))
		}
	}
	differ("its capabilities", has.Capabilities, found.Capabilities)
	differ("its optional interfaces", has.Abilities, found.Abilities)
	differ("its proofs beside the suite", has.Proofs, found.Proofs)
	differ("its cases", has.Ran, found.Ran)
	differ("its failed cases", has.Failed, found.Failed)
	for _, name := range union(has.Skipped, found.Skipped) {
		was, before := has.Skipped[name]
		is, now := found.Skipped[name]
		switch {
		case now && !before:
			faults = append(faults, fmt.Sprintf("case %s is skipped (%s), and in the table it is not", name, is))
		case before && !now:
			faults = append(faults, fmt.Sprintf("case %s is not skipped, and in the table it is (%s)", name, was))
		case was != is:
			faults = append(faults, fmt.Sprintf("case %s is skipped because it %s, and in the table because it %s", name, is, was))
		}
	}
	return faults
}

// text is what two values are compared and shown by.
func text(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

func union(a, b map[string]string) []string {
	var names []string
	for name := range a {
		names = append(names, name)
	}
	for name := range b {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
