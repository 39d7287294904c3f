package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

func footprintRows() []row {
	return []row{
		{name: "1 M queued messages", shape: "memory", unit: "B each", goal: "≤ 900", single: inChild("queued")},
		{name: "idle app", shape: "memory, 10 s", unit: "% of a core", goal: "< 1", single: inChild("idle")},
		{name: "memory-only program", shape: "stripped binary", unit: "MB", goal: "< 8", single: binary},
	}
}

// inChild measures in a process of its own.
func inChild(name string) measurement {
	return func(ctx context.Context) (float64, error) {
		self, err := os.Executable()
		if err != nil {
			return 0, err
		}
		cmd := exec.CommandContext(ctx, self, "-child", name)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return 0, fmt.Errorf("child %s: %w", name, err)
		}
		return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	}
}

func runChild(ctx context.Context, name string, w io.Writer) error {
	value, err := func() (float64, error) {
		switch name {
		case "slow-rate":
			rate, _, err := slow(ctx)
			return rate, err
		case "slow-memory":
			_, resident, err := slow(ctx)
			return resident, err
		case "queued":
			return queued(ctx)
		case "idle":
			return idle(ctx)
		case "backlog-nats":
			return backlog(ctx, openNats)
		case "backlog-redis":
			return backlog(ctx, openRedis)
		case "backlog-kafka":
			return backlog(ctx, openKafka)
		}
		return 0, fmt.Errorf("no figure %q", name)
	}()
	if err == nil {
		_, err = fmt.Fprintln(w, value)
	}
	return err
}

// queued is the live heap of a message in a topic, its body of 256 bytes and its
// identifiers included.
func queued(ctx context.Context) (float64, error) {
	const n = 1_000_000
	broker := memory.New(&memory.Options{Capacity: n})
	t := transport.New(broker, nil)
	// A group that is never read, so that the topic is no ring of the newest.
	src, err := broker.Subscribe(ctx, driver.Subscription{Topic: "bench", Group: "late", Window: 1, Lease: time.Hour})
	if err != nil {
		return 0, err
	}
	before := heap()
	es := make([]*envelope.Envelope, 1)
	for range n {
		es[0] = raw("")
		es[0].Data = bytes.Clone(body)
		if err := t.Publish(ctx, "bench", es...); err != nil {
			return 0, err
		}
	}
	each := float64(heap()-before) / n
	return each, errors.Join(src.Close(ctx), t.Close(ctx), broker.Close(ctx))
}

func heap() uint64 {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// idle is the processor time that a running app takes while nothing happens.
func idle(ctx context.Context) (float64, error) {
	a, err := startApp(ctx, anywire.Options{}, config.Agent{}, func(a *anywire.App) {
		a.HandleEnvelope("sink", func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) { return nil, nil })
	})
	if err != nil {
		return 0, err
	}
	const span = 10 * time.Second
	before := cpu()
	if err := sleep(ctx, span); err != nil {
		return 0, err
	}
	percent := 100 * float64(cpu()-before) / float64(span)
	return percent, a.close()
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func residentMB() (float64, error) {
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(status))
	pages, err := strconv.Atoi(fields[1])
	return float64(pages*os.Getpagesize()) / 1e6, err
}

// binary is the size of a program that uses only memory.
func binary(ctx context.Context) (float64, error) {
	dir, err := os.MkdirTemp("", "anywire-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "slim")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "./bench/slim")
	if text, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%w: %s", err, text)
	}
	info, err := os.Stat(out)
	if err != nil {
		return 0, err
	}
	return float64(info.Size()) / 1e6, nil
}
