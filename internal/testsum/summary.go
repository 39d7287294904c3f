package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/anywire/anywire/internal/matrix"
)

// event is one line of go test -json, as go doc test2json describes it.
type event struct {
	Action  string  `json:"Action"`
	Package string  `json:"Package"`
	Test    string  `json:"Test"`
	Output  string  `json:"Output"`
	Elapsed float64 `json:"Elapsed"`
}

// key names a test, or a package where test is empty; for skips, a package and
// the reason.
type key struct{ pkg, test string }

// summary turns events into lines for a reader, and counts.
type summary struct {
	out                     io.Writer
	output                  map[key]*bytes.Buffer // of what still runs
	skips                   map[key][]string      // by package and reason: the tests
	passed, failed, skipped int
	packages, broken        int
	ran                     []string // packages that passed
	reports                 matrix.Collector
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, output: make(map[key]*bytes.Buffer), skips: make(map[key][]string)}
}

// read takes all events; what is no event (a build error) is passed on.
func (s *summary) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil && e.Action != "" {
				s.take(e)
			} else {
				s.printf("%s", line)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the events: %w", err)
		}
	}
}

func (s *summary) take(e event) {
	k := key{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		s.printf("%s", e.Output)
	case "output":
		s.keep(k, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.endPackage(k, e)
		} else {
			s.endTest(k, e)
		}
	}
}

func (s *summary) keep(k key, text string) {
	b := s.output[k]
	if b == nil {
		b = new(bytes.Buffer)
		s.output[k] = b
	}
	b.WriteString(text)
}

// endTest counts a test and prints what a failed one wrote. The output of a
// passed subtest is dropped, that of a skipped one kept for the end.
func (s *summary) endTest(k key, e event) {
	switch e.Action {
	case "pass":
		s.passed++
		s.reports.Take(k.pkg, s.text(k))
	case "skip":
		s.skipped++
		why := key{k.pkg, s.reason(k)}
		s.skips[why] = append(s.skips[why], k.test)
	default:
		s.failed++
		s.printf("%s", s.text(k))
	}
	delete(s.output, k)
}

func (s *summary) endPackage(k key, e event) {
	s.packages++
	switch e.Action {
	case "pass":
		s.ran = append(s.ran, k.pkg)
		cached := ""
		if strings.Contains(s.text(k), "(cached)") {
			cached = " (cached)"
		}
		s.printf("ok  \t%s\t%.1fs%s\n", k.pkg, e.Elapsed, cached)
	case "skip":
		s.printf("?   \t%s\t[no test files]\n", k.pkg)
	default:
		s.broken++
		s.rest(k.pkg)
		s.printf("FAIL\t%s\t%.1fs\n", k.pkg, e.Elapsed)
	}
	delete(s.output, k)
}

// rest prints what tests wrote that never ended, as after a panic or a timeout,
// and then what the package itself wrote.
func (s *summary) rest(pkg string) {
	for k, b := range s.output {
		if k.pkg == pkg && k.test != "" {
			s.printf("%s", b)
			delete(s.output, k)
		}
	}
	s.printf("%s", s.text(key{pkg: pkg}))
}

func (s *summary) text(k key) string {
	if b := s.output[k]; b != nil {
		return b.String()
	}
	return ""
}

// reason is what a skipped test said, without the frame that go test adds, and
// without what stands before "skipped:".
func (s *summary) reason(k key) string {
	var said []string
	for line := range strings.Lines(s.text(k)) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			said = append(said, place.ReplaceAllString(line, ""))
		}
	}
	text := strings.Join(said, " ")
	if _, why, ok := strings.Cut(text, "skipped: "); ok {
		return why
	}
	return text
}

// place is where a test wrote a line.
var place = regexp.MustCompile(`^\S+\.go:\d+: `)

// green reports whether something ran and nothing failed.
func (s *summary) green() bool { return s.failed == 0 && s.broken == 0 && s.passed > 0 }

// close prints the skips, a line for each reason, and the counts.
func (s *summary) close() {
	if len(s.skips) > 0 {
		s.printf("\nskipped:\n")
	}
	byPackage := func(a, b key) int { return cmp.Or(cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.test, b.test)) }
	for _, why := range slices.SortedFunc(maps.Keys(s.skips), byPackage) {
		tests := s.skips[why]
		name := tests[0]
		if n := len(tests); n > 1 {
			name = fmt.Sprintf("%d tests, %s and others", n, name)
		}
		s.printf("  %s: %s (%s)\n", why.pkg, why.test, name)
	}
	s.printf("\n%d packages, %d of them failed\n", s.packages, s.broken)
	s.printf("%d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
}

func (s *summary) printf(format string, args ...any) {
	// Nothing can be done about a reader who went away.
	_, _ = fmt.Fprintf(s.out, format, args...)
}
