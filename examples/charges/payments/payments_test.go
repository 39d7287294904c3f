package payments_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/anywire/anywire/examples/charges/payments"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts an API with the moods given, and then fine; stop ends it.
func serve(t *testing.T, file string, moods ...payments.Mood) (c *payments.Client, stop func()) {
	t.Helper()
	var mu sync.Mutex
	api := payments.NewServer(file, 0, func() payments.Mood {
		mu.Lock()
		defer mu.Unlock()
		if len(moods) == 0 {
			return payments.Fine
		}
		next := moods[0]
		moods = moods[1:]
		return next
	})
	server := httptest.NewServer(api)
	stop = sync.OnceFunc(func() {
		server.Close()
		if err := api.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return &payments.Client{URL: server.URL}, stop
}

var anna = payments.Request{Customer: "anna", Order: "1", Cents: 100}

func charge(t *testing.T, c *payments.Client, key string) string {
	t.Helper()
	receipt, err := c.Charge(t.Context(), anna, key)
	if err != nil || receipt == "" {
		t.Fatalf("receipt %q, %v", receipt, err)
	}
	return receipt
}

// A key is one charge, also for an API that was started again.
func TestOneChargeForAKey(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "payments.jsonl")
	c, stop := serve(t, file)
	first, other := charge(t, c, "a"), charge(t, c, "b")
	if charge(t, c, "a") != first || first == other {
		t.Errorf("receipts %s and %s", first, other)
	}
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if _, err := c.Charge(t.Context(), anna, "c"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	stop()
	c, _ = serve(t, file)
	if charge(t, c, "a") != first {
		t.Error("another receipt after a restart")
	}
	if made, err := c.Charges(t.Context()); err != nil || len(made) != 3 {
		t.Errorf("charges %+v, %v", made, err)
	}
}

// An answer that is lost is a charge; one that says no is none.
func TestMoods(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, filepath.Join(t.TempDir(), "f"), payments.Busy, payments.Broken, payments.Dropped)
	for i, want := range []int{0, 0, 1} {
		_, err := c.Charge(t.Context(), anna, "a")
		busy, isBusy := errors.AsType[*payments.BusyError](err)
		_, isRefused := errors.AsType[*payments.RefusedError](err)
		if err == nil || isBusy != (i == 0) || isBusy && busy.After != time.Second || isRefused {
			t.Errorf("request %d: %v", i, err)
		}
		if made, err := c.Charges(t.Context()); err != nil || len(made) != want {
			t.Errorf("after request %d: charges %+v, %v", i, made, err)
		}
	}
	charge(t, c, "a")
}

func TestRefused(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, filepath.Join(t.TempDir(), "f"))
	charge(t, c, "a")
	for name, r := range map[string]struct {
		request payments.Request
		key     string
		says    string
	}{
		"no key":     {anna, "", "there is no Idempotency-Key"},
		"nobody":     {payments.Request{Cents: 1}, "b", "nobody can charge"},
		"nothing":    {payments.Request{Customer: "anna"}, "b", "nobody can charge"},
		"other body": {payments.Request{Customer: "anna", Order: "1", Cents: 101}, "a", "the key belongs to another charge"},
	} {
		_, err := c.Charge(t.Context(), r.request, r.key)
		if _, ok := errors.AsType[*payments.RefusedError](err); !ok || !strings.Contains(err.Error(), r.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	answer, err := http.Head(c.URL + "/charges")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("HEAD: %s", answer.Status)
	}
}

// A file that cannot be opened is no charge, and no refusal.
func TestFileInUse(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "f")
	first, _ := serve(t, file)
	charge(t, first, "a")
	second, _ := serve(t, file)
	_, err := second.Charge(t.Context(), anna, "b")
	if _, refused := errors.AsType[*payments.RefusedError](err); err == nil || refused || !strings.Contains(err.Error(), "another process has it") {
		t.Errorf("error %v", err)
	}
}
