//go:build linux

package embedded

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// TestFullDisk fills a small file system: the publish that finds no room says
// so, nothing that was confirmed is lost, and it goes on when there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	mount := tinyFileSystem(t)
	d := open(t, Options{Dir: filepath.Join(mount, "data")})
	// What must go to make room again.
	ballast := filepath.Join(mount, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := d.Subscribe(t.Context(), subscription(false))
	if err != nil {
		t.Fatal(err)
	}
	confirmed, failure := fill(t, d)
	if !errors.Is(failure, syscall.ENOSPC) || !strings.Contains(failure.Error(), "make room") {
		t.Errorf("the publish that found no room: %v, want one that says so", failure)
	}
	if err := d.Ping(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Ping with a full disk: %v, want that it says so", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	publishUntilRoom(t, d, confirmed+1)
	seen := map[string]bool{}
	for !seen[strconv.Itoa(confirmed+1)] {
		msgs, err := src.Receive(t.Context(), 10)
		if err != nil {
			t.Logf("Receive: %v; calling again", err)
			continue
		}
		for _, m := range msgs {
			seen[string(bytes.TrimRight(m.Body, "\x00"))] = true
		}
		settle(t, src, msgs)
	}
	for i := range confirmed {
		if !seen[strconv.Itoa(i+1)] {
			t.Errorf("message %d was confirmed and is lost", i+1)
		}
	}
}

func settle(t *testing.T, src driver.Source, msgs []*driver.Message) {
	t.Helper()
	for err := src.Settle(t.Context(), acks(msgs)); err != nil; err = src.Settle(t.Context(), acks(msgs)) {
		t.Logf("Settle: %v; calling again", err)
		if errors.Is(err, driver.ErrStale) {
			return
		}
	}
}

// tinyFileSystem mounts one of 6 MiB, or skips where that is not allowed.
func tinyFileSystem(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("no small file system without the right to mount: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %s", out)
		}
	})
	return dir
}

// fill publishes until there is no room and returns how many were confirmed.
func fill(t *testing.T, d *Driver) (confirmed int, failure error) {
	t.Helper()
	for i := 1; i < 1000; i++ {
		body := make([]byte, 100_000)
		copy(body, strconv.Itoa(i))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		err := d.Publish(ctx, topic, []*driver.Message{{Body: body}})
		cancel()
		if err != nil {
			return i - 1, err
		}
	}
	t.Fatal("the file system takes 100 MB")
	return 0, nil
}

func publishUntilRoom(t *testing.T, d *Driver, n int) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := d.Publish(t.Context(), topic, []*driver.Message{{Body: []byte(strconv.Itoa(n))}})
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("there is room, and Publish says: %v", err)
		}
	}
}
