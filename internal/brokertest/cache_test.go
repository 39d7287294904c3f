package brokertest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestInstallOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "thing")
	broken := errors.New("broken")
	err := installOnce(path, func(temporary string) error {
		return errors.Join(os.WriteFile(temporary, []byte("half"), 0o600), broken)
	})
	if !errors.Is(err, broken) || exists(path) {
		t.Fatalf("a broken install gives %v and a file: %v", err, exists(path))
	}
	var fills atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			err := installOnce(path, func(temporary string) error {
				fills.Add(1)
				return os.WriteFile(temporary, []byte("whole"), 0o600)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if data, err := os.ReadFile(path); err != nil || string(data) != "whole" || fills.Load() != 1 {
		t.Errorf("installed %d times: %q, %v", fills.Load(), data, err)
	}
}

func TestPortsAreReserved(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	p, err := reservePort(cache)
	if err != nil {
		t.Fatal(err)
	}
	name := p.lock.Name()
	if free, err := isFree(name); free || err != nil {
		t.Errorf("a reserved port is free: %v, %v", free, err)
	}
	p.release()
	if free, err := isFree(name); !free || err != nil {
		t.Errorf("a released port is not free: %v, %v", free, err)
	}
}

func TestSkipIsByName(t *testing.T) {
	for value, want := range map[string]bool{"": false, "kafka": false, "nats": true, "kafka, NATS": true, "natsy": false} {
		t.Setenv("ANYWIRE_TEST_SKIP", value)
		if got := skipped(natsKind{}); got != want {
			t.Errorf("ANYWIRE_TEST_SKIP=%q skips nats: %v, want %v", value, got, want)
		}
	}
}

func TestAddressWithoutServerIsAnError(t *testing.T) {
	t.Parallel()
	for _, k := range []kind{natsKind{}, redisKind{}, kafkaKind{}} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := attach(ctx, k, "127.0.0.1:1")
		cancel()
		if err == nil || !strings.Contains(err.Error(), envOf(k)) {
			t.Errorf("%s: error %v does not name %s", k.name(), err, envOf(k))
		}
	}
}
