package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/drivertest"
)

func summarise(t *testing.T, events ...string) (*summary, string) {
	t.Helper()
	var out strings.Builder
	s := newSummary(&out)
	if err := s.read(strings.NewReader(strings.Join(events, "\n") + "\n")); err != nil {
		t.Fatal(err)
	}
	s.close()
	return s, out.String()
}

func TestSummary(t *testing.T) {
	t.Parallel()
	s, out := summarise(t,
		`{"Action":"output","Package":"a","Test":"TestFine","Output":"quiet\n"}`,
		`{"Action":"pass","Package":"a","Test":"TestFine"}`,
		`{"Action":"output","Package":"a","Test":"TestSkip","Output":"=== RUN TestSkip\n"}`,
		`{"Action":"output","Package":"a","Test":"TestSkip","Output":"    x_test.go:1: no server here\n"}`,
		`{"Action":"skip","Package":"a","Test":"TestSkip"}`,
		`{"Action":"output","Package":"a","Test":"TestToo","Output":"    x_test.go:9: TestToo skipped: no server here\n"}`,
		`{"Action":"skip","Package":"a","Test":"TestToo"}`,
		`{"Action":"pass","Package":"a","Elapsed":1.25}`,
		`{"Action":"output","Package":"b","Test":"TestBad","Output":"    y_test.go:2: want 1\n"}`,
		`{"Action":"fail","Package":"b","Test":"TestBad"}`,
		`{"Action":"fail","Package":"b","Elapsed":2}`,
		`{"Action":"skip","Package":"c"}`,
	)
	for _, want := range []string{
		"ok  \ta\t1.2s\n", "y_test.go:2: want 1", "FAIL\tb\t2.0s\n", "?   \tc\t[no test files]\n",
		"  a: no server here (2 tests, TestSkip and others)\n", "3 packages, 1 of them failed\n",
		"1 passed, 1 failed, 2 skipped\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "quiet") {
		t.Errorf("the output of a passed test is printed:\n%s", out)
	}
	if s.green() {
		t.Error("green although a test failed")
	}
}

func TestPanicShowsUnfinishedTests(t *testing.T) {
	t.Parallel()
	s, out := summarise(t,
		`{"Action":"output","Package":"a","Test":"TestDies","Output":"panic: at the disco\n"}`,
		`{"Action":"output","Package":"a","Output":"exit status 2\n"}`,
		`{"Action":"fail","Package":"a"}`,
	)
	if s.green() || !strings.Contains(out, "panic: at the disco\nexit status 2\n") {
		t.Errorf("green %t, output:\n%s", s.green(), out)
	}
}

func TestBuildErrorIsShown(t *testing.T) {
	t.Parallel()
	s, out := summarise(t,
		`{"Action":"build-output","ImportPath":"a","Output":"a.go:1:1: expected package\n"}`,
		`{"Action":"fail","Package":"a","FailedBuild":"a"}`,
		`not an event`,
	)
	if s.green() || !strings.Contains(out, "expected package") || !strings.Contains(out, "not an event") {
		t.Errorf("green %t, output:\n%s", s.green(), out)
	}
}

func TestNothingRunIsNotGreen(t *testing.T) {
	t.Parallel()
	if s, _ := summarise(t, `{"Action":"skip","Package":"a"}`); s.green() {
		t.Error("green although no test ran")
	}
}

func TestRunAnswersTheExitCode(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if code := run(t.Context(), options{}, []string{"sh", "-c", "exit 3"}, &out); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	if code := run(t.Context(), options{}, []string{"sh", "-c", `echo '{"Action":"pass","Package":"a","Test":"T"}'`}, &out); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if code := run(t.Context(), options{}, []string{"true"}, &out); code != 1 {
		t.Errorf("exit code %d where no test ran, want 1", code)
	}
}

// TestTransports goes from the line that a conformance test logs to the file and
// back.
func TestTransports(t *testing.T) {
	t.Parallel()
	table := filepath.Join(t.TempDir(), "transports.json")
	events := func(name string, skipped map[string]string) []string {
		r := drivertest.Report{Name: name, Capabilities: driver.Capabilities{Durable: true}, Ran: 3, Skipped: skipped}
		line, err := json.Marshal("    contract_test.go:7: " + r.String() + "\n")
		if err != nil {
			t.Fatal(err)
		}
		return []string{
			`{"Action":"output","Package":"p/` + name + `","Test":"TestContract","Output":` + string(line) + `}`,
			`{"Action":"pass","Package":"p/` + name + `","Test":"TestContract"}`,
			`{"Action":"pass","Package":"p/` + name + `"}`,
		}
	}
	check := func(o options, want string, events ...string) {
		t.Helper()
		o.matrix = table
		var out strings.Builder
		s := newSummary(&out)
		if err := s.read(strings.NewReader(strings.Join(events, "\n"))); err != nil {
			t.Fatal(err)
		}
		err := s.transports(o)
		if (err == nil) != (want == "") || !strings.Contains(out.String(), want) {
			t.Errorf("error %v, want one that goes with %q:\n%s", err, want, out.String())
		}
	}
	nats := events("nats", map[string]string{"settle/ack": "needs Counts"})
	check(options{}, "nats: is not in the table", nats...)
	check(options{update: true}, "", nats...)
	check(options{}, "", nats...)
	check(options{}, "", `{"Action":"pass","Package":"p/other"}`)
	check(options{}, "nats: p/nats ran and does not report it", nats[2])
	check(options{skips: "nats"}, "", nats[2])
	check(options{}, "nats: case settle/ack is not skipped", events("nats", nil)...)
	check(options{}, "nats: p/nats and p/nats report it, and differ", append(events("nats", nil), nats...)...)
	check(options{update: true}, "", events("redis", nil)...)
	check(options{}, "", append(events("redis", nil), nats...)...)
	text, err := os.ReadFile(strings.TrimSuffix(table, ".json") + ".md")
	if err != nil || !strings.Contains(string(text), "|  | nats | redis |") {
		t.Errorf("document: %v\n%s", err, text)
	}
}
