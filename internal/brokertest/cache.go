package brokertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
)

// Ports below the range from which systems take those of outgoing connections,
// so that none of them sits on the port of a killed server when it comes back.
const (
	firstPort = 20000
	portCount = 11000
	portTries = 200
)

// cacheDir is where installed brokers, locks and the state of [Up] live.
func cacheDir() (string, error) {
	dir := os.Getenv("ANYWIRE_TEST_CACHE")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no folder for what brokers need, set ANYWIRE_TEST_CACHE: %w", err)
		}
		dir = filepath.Join(base, "anywire", "brokers")
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("no folder for what brokers need, set ANYWIRE_TEST_CACHE: %w", err)
	}
	return dir, nil
}

// installOnce makes the file or folder path by calling fill with a temporary
// name beside it, unless it is there. Other processes wait meanwhile, and a
// process that dies leaves nothing that looks complete.
func installOnce(path string, fill func(temporary string) error) error {
	if exists(path) {
		return nil
	}
	unlock, err := lockPath(path + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if exists(path) {
		return nil
	}
	temporary := path + ".part"
	if err := os.RemoveAll(temporary); err != nil {
		return fmt.Errorf("remove what a dead install left: %w", err)
	}
	if err := fill(temporary); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// lockPath waits for the lock on the file path.
func lockPath(path string) (unlock func(), err error) {
	f, held, err := openLock(path, true)
	if err != nil {
		return nil, err
	}
	if held {
		return nil, errors.New("lock " + path + ": held")
	}
	return func() { _ = f.Close() }, nil
}

// openLock takes the lock on the file path, which it makes. Closing the file
// frees it. A lock that is held gives no file.
func openLock(path string, wait bool) (f *os.File, held bool, err error) {
	f, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, fmt.Errorf("open a lock: %w", err)
	}
	if held, err = lockFile(f, wait); held || err != nil {
		_ = f.Close()
		return nil, held, err
	}
	return f, false, nil
}

// port is a free TCP port that no other test binary takes while lock is held,
// also while the server on it is down.
type port struct {
	number int
	lock   *os.File
}

func reservePort(cache string) (*port, error) {
	dir := filepath.Join(cache, "ports")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("reserve a port: %w", err)
	}
	for range portTries {
		number := firstPort + rand.IntN(portCount)
		lock, held, err := openLock(filepath.Join(dir, strconv.Itoa(number)), false)
		if err != nil {
			return nil, err
		}
		if held {
			continue
		}
		if portFree(number) {
			return &port{number: number, lock: lock}, nil
		}
		_ = lock.Close()
	}
	return nil, fmt.Errorf("no free port found between %d and %d", firstPort, firstPort+portCount-1)
}

func portFree(number int) bool {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", number))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// release leaves the lock's file: to remove it would let two processes hold
// locks on two files of one name.
func (p *port) release() { _ = p.lock.Close() }

// run executes a tool and gives its output, which is part of the error. The
// tool dies with this process: nothing writes into the cache without its lock.
func run(ctx context.Context, dir, name string, args ...string) (output string, err error) {
	runtime.LockOSThread() // see startProcess
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.SysProcAttr = dir, dieWithParent()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %v: %w\n%s", name, args, err, out)
	}
	return string(out), nil
}
