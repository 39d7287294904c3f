package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/anywire/anywire/examples/charges/journal"
	"github.com/anywire/anywire/examples/charges/payments"
	"github.com/anywire/anywire/internal/brokertest"
)

// The sample has the same ends on every transport, with a payment API that is
// busy, broken and cut off; and run again it charges nobody.
func TestSampleOnEveryTransport(t *testing.T) {
	t.Parallel()
	for file, env := range map[string]string{
		"memory.yaml": "X=", "embedded.yaml": "X=",
		"redis.yaml": "REDIS_URL=" + brokertest.Redis(t).URL, "nats.yaml": "NATS_URL=" + brokertest.NATS(t).URL,
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			moods := []payments.Mood{payments.Dropped, payments.Busy, payments.Broken, payments.Fine, payments.Dropped}
			b := newBank(t, func(call int64) payments.Mood {
				if call > int64(len(moods)) {
					return payments.Fine
				}
				return moods[call-1]
			})
			data := t.TempDir()
			for _, calls := range []int{9 + 4, forgotten(file)} {
				p := start(t, "", []string{env, "CHARGES_DATA=" + data, "PAYMENTS_URL=" + b.URL}, "-c", file)
				if code := p.code(t); code != 0 {
					t.Fatalf("exit code %d:\n%s%s", code, &p.out, &p.err)
				}
				wantClosing(t, p.out.String(), 14, 10, 4, 9, 0, calls)
				wantSaid(t, p.out.String(),
					"order-02: bela paid 899.00, receipt ch_", "order-02: dead letter of the charger: its idempotency key belongs to",
					"order-06: dead letter of the charger: rejected: the order is too risky",
					"order-07: dead letter of the charger: rejected: the order is about 0 cents",
					"order-08: dead letter of the charger: rejected: the order names no customer",
				)
				wantOnce(t, b.file, filepath.Join(data, "ledger.jsonl"), 9)
			}
		})
	}
}

// forgotten is how often the payment API is asked by a second run: memory has
// forgotten the nine orders.
func forgotten(file string) int {
	if file == "memory.yaml" {
		return 9
	}
	return 0
}

func wantSaid(t *testing.T, printed string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(printed, line) {
			t.Errorf("the output lacks %q:\n%s", line, printed)
		}
	}
}

// Without a flag it does all by itself, and when it is killed, with the payment
// API that runs in it, it goes on.
func TestKilledWithItsPaymentAPI(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	env := []string{"CHARGES_DATA=" + data, "PAYMENTS_URL="}
	for kill := range 2 {
		p := start(t, "", env)
		p.until(t, "more charges", func() bool { return len(made(t, data)) > 3*kill })
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		p.mustDie(t)
	}
	p := start(t, "", env)
	if code := p.code(t); code != 0 {
		t.Fatalf("exit code %d:\n%s%s", code, &p.out, &p.err)
	}
	wantClosing(t, p.out.String(), 14, 10, 4, 9, 0)
	wantOnce(t, filepath.Join(data, "payments.jsonl"), filepath.Join(data, "ledger.jsonl"), 9)
}

func made(t *testing.T, data string) []payments.Charge {
	t.Helper()
	all, err := journal.Read[payments.Charge](filepath.Join(data, "payments.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Ctrl-C drains and says what is left, and a process that only works drains too.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	env := []string{"CHARGES_DATA=" + data, "PAYMENTS_URL="}
	overlay := write(t, "slow.yaml", "version: 1\ndefaults: { concurrency: 1 }\n")
	p := start(t, "", env, "-c", "embedded.yaml", "-c", overlay)
	p.until(t, "a charge", func() bool { return len(made(t, data)) > 0 })
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := p.code(t); code != 0 || !closing.MatchString(p.out.String()) {
		t.Fatalf("exit code %d:\n%s%s", code, &p.out, &p.err)
	}
	wantSaid(t, p.out.String(), "interrupted with ")
	p = start(t, "", env, "-c", "embedded.yaml")
	if code := p.code(t); code != 0 {
		t.Fatalf("exit code %d:\n%s%s", code, &p.out, &p.err)
	}
	wantClosing(t, p.out.String(), 14, 10, 4, 9, 0)
}

// The payment API as a process of its own serves workers and the job.
func TestProcessesOfTheirOwn(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	redis := "REDIS_URL=" + brokertest.Redis(t).URL
	api := start(t, "", []string{"CHARGES_DATA=" + data}, "payments", "-listen", "127.0.0.1:0", "-calm")
	var url string
	api.until(t, "it listens", func() bool {
		_, rest, _ := strings.Cut(api.out.String(), "payment API on ")
		url = strings.TrimSpace(rest)
		return url != ""
	})
	env := []string{redis, "CHARGES_DATA=" + data, "PAYMENTS_URL=" + url}
	worker := start(t, "", env, "-c", "redis.yaml", "-agents", "charger", "-work")
	job := start(t, "", env, "-c", "redis.yaml", "-agents", "bookkeeper", "-in", ordersFile(t, 4))
	if code := job.code(t); code != 0 {
		t.Fatalf("exit code %d:\n%s%s\nworker:\n%s", code, &job.out, &job.err, &worker.err)
	}
	wantClosing(t, job.out.String(), 4, 4, 0, 4, 0, 0)
	for _, p := range []*process{worker, api} {
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := p.code(t); code != 0 {
			t.Errorf("exit code %d:\n%s%s", code, &p.out, &p.err)
		}
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no such file":      {[]string{"-in", "nowhere.jsonl"}, 1, "give another file with -in"},
		"empty flag":        {[]string{"-in", ""}, 2, "names no file"},
		"nothing in it":     {[]string{"-in", write(t, "none.jsonl", "\n")}, 1, "holds no orders"},
		"no JSON":           {[]string{"-in", write(t, "bad.jsonl", "{}\n{\"id\": 1}\nx\n")}, 1, "bad.jsonl:3: invalid character"},
		"works, but alone":  {[]string{"-work"}, 1, "say with PAYMENTS_URL where it is"},
		"bad configuration": {[]string{"-c", write(t, "bad.yaml", "version: 1\nagentz: {}\n")}, 2, "bad.yaml:2:1"},
		"no such address":   {[]string{"payments", "-listen", "256.0.0.1:1"}, 1, "256.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, "", []string{"CHARGES_DATA=" + t.TempDir(), "PAYMENTS_URL="}, c.args...)
			if code := p.code(t); code != c.code || !strings.Contains(p.err.String(), c.says) {
				t.Errorf("exit code %d, want %d, and %q in:\n%s", code, c.code, c.says, &p.err)
			}
		})
	}
}

// A row is added once, whoever opened the ledger.
func TestLedgerTakesARowOnce(t *testing.T) {
	t.Parallel()
	l := &ledger{path: filepath.Join(t.TempDir(), "new", "ledger.jsonl")}
	for range 2 {
		for _, key := range []string{"a", "b", "a"} {
			if err := l.add(Row{Key: key}); err != nil {
				t.Fatal(err)
			}
		}
		second := &ledger{path: l.path}
		if err := second.add(Row{Key: "c"}); err == nil || !strings.Contains(err.Error(), "another process has it") {
			t.Errorf("two have the ledger: %v", err)
		}
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
	}
	if rows, err := journal.Read[Row](l.path); err != nil || len(rows) != 2 {
		t.Errorf("%+v, %v", rows, err)
	}
}

// The files differ in the transport only.
func TestConfigurationsDifferInTheTransport(t *testing.T) {
	t.Parallel()
	transport := regexp.MustCompile(`(?m)^transport: .*\n|^transports:\n(?:  .*\n)+`)
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) != 4 {
		t.Fatalf("%q, %v", files, err)
	}
	var first string
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		rest := transport.ReplaceAllString(string(text), "")
		if first == "" {
			first = rest
		}
		if rest != first || len(rest) == len(text) {
			t.Errorf("%s without its transport:\n%s\nwant\n%s", name, rest, first)
		}
	}
}
