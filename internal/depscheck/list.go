package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// collect joins the two answers of go list: the packages with what they import,
// directly or not, and the module of each package outside the standard library.
func collect(packages, modules string) map[string][]string {
	owner := make(map[string]string)
	for line := range strings.Lines(modules) {
		pkg, mod, _ := strings.Cut(strings.TrimSpace(line), "\t")
		owner[pkg] = mod
	}
	all := make(map[string][]string)
	for line := range strings.Lines(packages) {
		pkg, deps, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		if pkg == "" {
			continue
		}
		linked := []string{}
		for dep := range strings.FieldsSeq(deps) {
			if mod := owner[dep]; mod != "" && mod != module {
				linked = append(linked, mod)
			}
		}
		slices.Sort(linked)
		all[relative(pkg)] = slices.Compact(linked)
	}
	return all
}

// relative is a package's folder below the module, "." for the root.
func relative(pkg string) string {
	if pkg == module {
		return "."
	}
	return strings.TrimPrefix(pkg, module+"/")
}

// checkSlim reports each module that a slim package links and may not.
func checkSlim(got, allowed map[string][]string) error {
	var found []string
	for _, pkg := range slices.Sorted(maps.Keys(allowed)) {
		for _, mod := range got[pkg] {
			if !slices.Contains(allowed[pkg], mod) {
				found = append(found, fmt.Sprintf("%s links %s", pkg, mod))
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	return fmt.Errorf("a program with the memory transport only must link no client of a broker:\n  %s\n"+
		"`go list -deps` of the package shows the way in", strings.Join(found, "\n  "))
}

// format writes one line for each package: its name, a colon, the modules.
func format(all map[string][]string) []byte {
	var b strings.Builder
	b.WriteString("# What each package links beyond the standard library. Checked by `make deps`,\n" +
		"# written by `make deps UPDATE=1`.\n")
	for _, pkg := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s:", pkg)
		for _, mod := range all[pkg] {
			b.WriteString(" " + mod)
		}
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// parse reads what format wrote.
func parse(file []byte) map[string][]string {
	all := make(map[string][]string)
	for line := range strings.Lines(string(file)) {
		pkg, mods, ok := strings.Cut(strings.TrimSpace(line), ":")
		if ok && !strings.HasPrefix(pkg, "#") {
			all[pkg] = strings.Fields(mods)
		}
	}
	return all
}

// compare says what was added and what is gone, a line each.
func compare(want, got map[string][]string) []string {
	var diff []string
	for _, pkg := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[pkg]; !ok {
			diff = append(diff, fmt.Sprintf("+ %s: a package that the list does not name, with %v", pkg, got[pkg]))
			continue
		}
		diff = append(diff, changes("+", pkg, got[pkg], want[pkg])...)
		diff = append(diff, changes("-", pkg, want[pkg], got[pkg])...)
	}
	for _, pkg := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[pkg]; !ok {
			diff = append(diff, fmt.Sprintf("- %s: no such package", pkg))
		}
	}
	return diff
}

// changes lists what is in these and not in those.
func changes(sign, pkg string, these, those []string) []string {
	var lines []string
	for _, mod := range these {
		if !slices.Contains(those, mod) {
			lines = append(lines, fmt.Sprintf("%s %s: %s", sign, pkg, mod))
		}
	}
	return lines
}
