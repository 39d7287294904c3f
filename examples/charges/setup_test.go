package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/anywire/anywire/examples/charges/journal"
	"github.com/anywire/anywire/examples/charges/payments"
	"github.com/anywire/anywire/internal/brokertest"
)

// asProgram in the environment has the test binary be the program itself, so
// that tests can kill it; its value may be the place where it kills itself.
const asProgram = "CHARGES_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if place, ok := os.LookupEnv(asProgram); ok {
		playProgram(place) // exits
	}
	// Tests mostly wait, for leases and for brokers.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(brokertest.Runner(m))
}

// process is the program in a process of its own.
type process struct {
	*exec.Cmd

	out, err output
	ended    chan struct{} // closed when it has
}

// output is what a process printed, also while it runs.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs the program; place is where it kills itself, empty: nowhere.
func start(t *testing.T, place string, env []string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(self, args...), ended: make(chan struct{})}
	p.Env = append(append(os.Environ(), asProgram+"="+place), env...)
	p.Stdout, p.Stderr = &p.out, &p.err
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.Wait() // its end is read from ProcessState
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.ended
	})
	return p
}

// code waits for the end and returns the exit code, -1 after a signal. A process
// that does not end has to say where it stands.
func (p *process) code(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(2 * time.Minute):
		_ = p.Process.Signal(syscall.SIGQUIT)
		<-p.ended
		t.Fatalf("it did not end:\n%s%s", &p.out, &p.err)
	}
	return p.ProcessState.ExitCode()
}

// until waits for something to become true while the process runs.
func (p *process) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !is() {
		select {
		case <-p.ended:
			t.Fatalf("ended before %s, exit code %d:\n%s%s", what, p.code(t), &p.out, &p.err)
		case <-ctx.Done():
			t.Fatalf("still not: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// mustDie waits until the process has been killed.
func (p *process) mustDie(t *testing.T) {
	t.Helper()
	p.code(t)
	if status, ok := p.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("it ended with %v and not of SIGKILL:\n%s%s", p.ProcessState, &p.out, &p.err)
	}
}

// bank is a payment API that outlives the programs, and counts.
type bank struct {
	*payments.Client

	file  string
	asked atomic.Int64
	// then is called for each request before it is done; nil: nothing.
	then atomic.Pointer[func()]
}

func newBank(t *testing.T, mood func(call int64) payments.Mood) *bank {
	t.Helper()
	b := &bank{file: filepath.Join(t.TempDir(), "payments.jsonl")}
	api := payments.NewServer(b.file, 5*time.Millisecond, func() payments.Mood {
		n := b.asked.Add(1)
		if then := b.then.Load(); then != nil {
			(*then)()
		}
		return mood(n)
	})
	server := httptest.NewServer(api)
	t.Cleanup(func() {
		server.Close()
		if err := api.Close(); err != nil {
			t.Error(err)
		}
	})
	b.Client = &payments.Client{URL: server.URL}
	return b
}

func calm(int64) payments.Mood { return payments.Fine }

// ordersFile writes orders of different customers.
func ordersFile(t *testing.T, n int) string {
	t.Helper()
	var text bytes.Buffer
	for i := range n {
		if err := json.NewEncoder(&text).Encode(Order{ID: "order-" + strconv.Itoa(i), Customer: "customer-" + strconv.Itoa(i), Cents: 100 + i}); err != nil {
			t.Fatal(err)
		}
	}
	return write(t, "orders.jsonl", text.String())
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// wantOnce has every customer charged once, and in the ledger once, for what was
// ordered.
func wantOnce(t *testing.T, charges, ledger string, orders int) {
	t.Helper()
	made, err := journal.Read[payments.Charge](charges)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := journal.Read[Row](ledger)
	if err != nil {
		t.Fatal(err)
	}
	receipts := map[string]string{}
	for _, c := range made {
		if receipts[c.Customer] != "" {
			t.Errorf("%s is charged twice: %+v", c.Customer, made)
		}
		receipts[c.Customer] = c.Receipt
	}
	booked := map[string]bool{}
	for _, row := range rows {
		if booked[row.Receipt] || receipts[row.Order.Customer] != row.Receipt {
			t.Errorf("the ledger says %+v; the payment API made %+v", rows, made)
		}
		booked[row.Receipt] = true
	}
	if len(receipts) != orders || len(booked) != orders {
		t.Errorf("%d customers charged, %d in the ledger, want %d", len(receipts), len(booked), orders)
	}
}

var closing = regexp.MustCompile(
	`(?m)^lines (\d+), paid (\d+), dead letters (\d+); orders charged (\d+), charged twice (\d+); payment calls (\d+), elapsed \S+\n\z`)

// wantClosing has the closing line say how much of what; payment calls of -1:
// any.
func wantClosing(t *testing.T, printed string, want ...int) {
	t.Helper()
	m := closing.FindStringSubmatch(printed)
	if m == nil {
		t.Fatalf("no closing line in:\n%s", printed)
	}
	for i, n := range want {
		if n >= 0 && m[i+1] != strconv.Itoa(n) {
			t.Errorf("the closing line is %q, want %v", strings.TrimSpace(m[0]), want)
		}
	}
}
