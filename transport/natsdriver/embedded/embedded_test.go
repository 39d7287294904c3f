package embedded

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/natsdriver"
)

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func TestFolders(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "is", "made")
	d := open(t, Options{Dir: dir})
	if err := d.Publish(t.Context(), topic, texts(1, 1)); err != nil {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{file, filepath.Join(file, "below"), "/proc/anywire"} {
		_, err := Open(t.Context(), Options{Dir: bad})
		if err == nil || !strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), "set dir") {
			t.Errorf("folder %s: error %v, want one that names it and says what to do", bad, err)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]Options{
		`sync "sometimes"`: {Sync: "sometimes"},
		`sync "1us"`:       {Sync: "1us"},
		`listen "4222"`:    {Listen: "4222"},
		`listen ":x"`:      {Listen: ":x"},
		`max_body 1GiB`:    {MaxBody: 1 << 30},
	} {
		o.Dir = filepath.Join(t.TempDir(), "not-made")
		_, err := Open(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %s", err, want)
		}
		if _, err := os.Stat(o.Dir); err == nil {
			t.Errorf("%s: the folder was made", want)
		}
	}
}

func TestNoPortIsOpened(t *testing.T) {
	t.Parallel()
	d := open(t, Options{Dir: t.TempDir()})
	if addr := d.host.running.Addr(); addr != nil {
		t.Errorf("the server listens on %v", addr)
	}
}

func TestOthersAttach(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	d := open(t, Options{Dir: t.TempDir(), Listen: address})
	other, err := natsdriver.Open(t.Context(), natsdriver.Options{URL: "nats://" + address})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close(t.Context()) }()
	if err := other.Publish(t.Context(), topic, texts(1, 1)); err != nil {
		t.Fatal(err)
	}
	src, err := d.Subscribe(t.Context(), subscription(false))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := take(t.Context(), src, 1); err != nil {
		t.Error(err)
	}
	if _, err := Open(t.Context(), Options{Dir: t.TempDir(), Listen: address}); err == nil {
		t.Error("two servers listen on one address")
	}
}

func TestCloseWithoutClosingSources(t *testing.T) {
	t.Parallel()
	d := open(t, Options{Dir: t.TempDir(), Sync: "1s"})
	if _, err := d.Subscribe(t.Context(), subscription(false)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 2 {
		if err := d.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	if _, native := d.Native().(*nats.Conn); !native {
		t.Errorf("Native is a %T", d.Native())
	}
}

// The server forgets what was handed back when it ends: the next owner must not
// wait for the leases.
func TestWhatACleanEndHandedBackComesAtOnce(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir()}
	for round := range 2 {
		d, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			if err := d.Publish(t.Context(), topic, texts(1, 3)); err != nil {
				t.Fatal(err)
			}
		}
		src, err := d.Subscribe(t.Context(), subscription(false))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		held, err := take(ctx, src, 3)
		cancel()
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := src.Settle(t.Context(), []driver.Settlement{{Token: held[0].Token, Outcome: driver.HandBack}}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(src.Close(t.Context()), d.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
}
