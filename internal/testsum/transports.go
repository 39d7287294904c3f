package main

import (
	"errors"
	"fmt"

	"github.com/anywire/anywire/internal/matrix"
)

// transports compares what the conformance tests reported with the table, or
// writes it there.
func (s *summary) transports(o options) error {
	if o.matrix == "" {
		return nil
	}
	table, err := matrix.Load(o.matrix)
	if err != nil {
		return err
	}
	found, faults := s.reports.Columns()
	ran := s.ran
	if o.skips != "" { // their transports cannot report
		ran = nil
	}
	if !o.update {
		faults = append(faults, table.Check(found, ran)...)
	}
	for _, c := range found {
		s.printf("transport %s: %d cases, %d skipped\n", c.Name, c.Ran, len(c.Skipped))
	}
	for _, fault := range faults {
		s.printf("transport %s\n", fault)
	}
	switch {
	case len(faults) > 0 && o.update:
		return errors.New("nothing was written")
	case len(faults) > 0:
		return fmt.Errorf("the drivers are not as %s says: mend them, or look at what changed and run make matrix", o.matrix)
	case !o.update:
		return nil
	}
	for _, c := range found {
		table.Put(c)
	}
	return table.Save(o.matrix)
}
