package brokertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// detachedState is what [Up] leaves in the cache for [Down]. The process holds
// the lock of the file beside it for as long as it lives, so that a later
// process with the same number is never mistaken for it.
type detachedState struct {
	PID     int
	URL     string
	Version string
	Dir     string
	// Project is set where Docker Compose runs it, which has no process here.
	Project *project `json:",omitempty"`
}

// Up starts the named brokers ("nats", "redis", "kafka",
// "postgres"; none: all), to run until
// [Down], and writes to out the lines that make tests use them, for a shell to
// evaluate. A broker that is already up, that an address in the environment
// names or that ANYWIRE_TEST_SKIP leaves out is not started. Progress goes to
// messages. ctx bounds the start, not the servers.
func Up(ctx context.Context, out, messages io.Writer, names ...string) error {
	kinds, err := kindsOf(names)
	if err != nil {
		return err
	}
	logf := func(format string, args ...any) { _, _ = fmt.Fprintf(messages, format+"\n", args...) }
	for _, k := range kinds {
		if skipped(k) {
			logf("%s SKIPPED, because ANYWIRE_TEST_SKIP=%s", k.name(), os.Getenv("ANYWIRE_TEST_SKIP"))
			continue
		}
		s, err := upOne(ctx, logf, k)
		if err != nil {
			return fmt.Errorf("%s: %w", k.name(), err)
		}
		logf("%v at %s", s, s.URL)
		if _, err := fmt.Fprintf(out, "export %s=%s\n", envOf(k), s.URL); err != nil {
			return fmt.Errorf("print the address of %s: %w", k.name(), err)
		}
	}
	return nil
}

// Down ends the named brokers (none: all) that [Up] started and removes their
// data. One that is not up is no error.
func Down(messages io.Writer, names ...string) error {
	kinds, err := kindsOf(names)
	if err != nil {
		return err
	}
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	var failed []error
	for _, k := range kinds {
		was, err := downOne(statePath(cache, k))
		switch {
		case err != nil:
			failed = append(failed, fmt.Errorf("%s: %w", k.name(), err))
		case was == nil:
			_, _ = fmt.Fprintf(messages, "%s was not up\n", k.name())
		default:
			_, _ = fmt.Fprintf(messages, "%s at %s is down\n", k.name(), was.URL)
		}
	}
	return errors.Join(failed...)
}

func kindsOf(names []string) ([]kind, error) {
	all := []kind{natsKind{}, redisKind{}, kafkaKind{}, postgresKind{}}
	if len(names) == 0 {
		return all, nil
	}
	var kinds []kind
	for _, name := range names {
		i := slices.IndexFunc(all, func(k kind) bool { return k.name() == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown broker %q: nats, redis, kafka and postgres can be had", name)
		}
		kinds = append(kinds, all[i])
	}
	return kinds, nil
}

func statePath(cache string, k kind) string { return filepath.Join(cache, "up-"+k.name()+".json") }

func upOne(ctx context.Context, logf logFunc, k kind) (*Server, error) {
	if address := os.Getenv(envOf(k)); address != "" {
		return attach(ctx, k, address)
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	path := statePath(cache, k)
	unlock, err := lockPath(path + ".starting")
	if err != nil {
		return nil, err
	}
	defer unlock()

	life, alive, err := openLock(path+".lock", false)
	if err != nil {
		return nil, err
	}
	if alive {
		return alreadyUp(ctx, k, path)
	}
	defer func() { _ = life.Close() }() // the child keeps its copy
	if state, err := readState(path); err == nil {
		if s, err := stillComposed(ctx, k, state); err == nil {
			return s, nil
		}
		if err := forget(path, state); err != nil {
			return nil, err
		}
	}
	if file, ok := composable(ctx); ok {
		s, err := composeDetached(ctx, logf, k, file, path)
		if err == nil {
			return s, nil
		}
		logf("%s becomes a local process, because Docker Compose cannot: %v", k.name(), err)
	}
	return startDetached(ctx, logf, k, path, life)
}

// stillComposed is the server that an earlier call had Docker Compose start.
func stillComposed(ctx context.Context, k kind, state *detachedState) (*Server, error) {
	if state.Project == nil {
		return nil, errors.New("not started by Docker Compose")
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	s, err := attach(ctx, k, state.URL)
	if err != nil {
		return nil, err
	}
	s.Version, s.project = state.Version, state.Project
	return s, nil
}

func composeDetached(ctx context.Context, logf logFunc, k kind, file, path string) (*Server, error) {
	s, err := compose(ctx, logf, k, file, "anywire-up-"+k.name())
	if err != nil {
		return nil, err
	}
	if err := writeState(path, detachedState{URL: s.URL, Version: s.Version, Project: s.project}); err != nil {
		s.end()
		return nil, err
	}
	s.releasePorts()
	return s, nil
}

// alreadyUp is the server that an earlier call started.
func alreadyUp(ctx context.Context, k kind, path string) (*Server, error) {
	state, err := readState(path)
	if err != nil {
		return nil, err
	}
	s, err := attach(ctx, k, state.URL)
	if err != nil {
		return nil, fmt.Errorf("it is up but does not answer, take it down first: %w", err)
	}
	s.Version, s.dir = state.Version, state.Dir
	return s, nil
}

func startDetached(ctx context.Context, logf logFunc, k kind, path string, life *os.File) (*Server, error) {
	dir, err := os.MkdirTemp("", "anywire-"+k.name()+"-up-")
	if err != nil {
		return nil, fmt.Errorf("no folder for its data: %w", err)
	}
	s, err := prepare(ctx, logf, k, dir, nil)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	defer s.end() // gives back its ports; the process is none of its own
	if err := s.runDetached(ctx, path, life); err != nil {
		_, downErr := downOne(path)
		return nil, errors.Join(err, downErr)
	}
	return s, nil
}

// runDetached starts the process and writes down its state before it waits, so
// that what is running can always be taken down.
func (s *Server) runDetached(ctx context.Context, path string, life *os.File) error {
	log, err := openLog(s.logPath())
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := s.command.build(log)
	cmd.SysProcAttr = s.command.as.become(detached())
	cmd.ExtraFiles = []*os.File{life}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.command.path, err)
	}
	proc := &process{cmd: cmd, done: make(chan struct{})}
	go func() { // ends with the server or with this program
		proc.err = exitError(cmd.Wait())
		close(proc.done)
	}()
	state := detachedState{PID: cmd.Process.Pid, URL: s.URL, Version: s.Version, Dir: s.dir}
	if err := writeState(path, state); err != nil {
		return errors.Join(err, proc.end(syscall.SIGKILL, stopTimeout))
	}
	version, err := s.ready(ctx, proc)
	if err != nil {
		return fmt.Errorf("%w; the end of its log:\n%s", err, s.log(0))
	}
	if version == "" {
		return nil
	}
	s.Version, state.Version = version, version
	return writeState(path, state)
}

// downOne ends the process that holds the lock beside path. It gives nil where
// nothing was up.
func downOne(path string) (*detachedState, error) {
	state, err := readState(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing was up, and that is fine
	}
	if err != nil {
		return nil, err
	}
	if state.Project != nil {
		return state, forget(path, state)
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		gone, err := endHolder(path+".lock", state.PID, sig)
		if err != nil {
			return nil, err
		}
		if gone {
			return state, forget(path, state)
		}
	}
	return nil, fmt.Errorf("process %d still runs %v after it was killed", state.PID, stopTimeout)
}

// endHolder sends sig to the process if it still holds its lock, and waits for
// the lock to be free.
func endHolder(lock string, pid int, sig syscall.Signal) (gone bool, err error) {
	free, err := isFree(lock)
	if free || err != nil {
		return free, err
	}
	proc, err := os.FindProcess(pid)
	if err != nil {
		return false, fmt.Errorf("find process %d: %w", pid, err)
	}
	if err := proc.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return false, fmt.Errorf("signal %v to process %d: %w", sig, pid, err)
	}
	tick := time.NewTicker(probePause)
	defer tick.Stop()
	deadline := time.NewTimer(stopTimeout)
	defer deadline.Stop()
	for {
		if free, err := isFree(lock); free || err != nil {
			return free, err
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return false, nil
		}
	}
}

func isFree(lock string) (bool, error) {
	f, held, err := openLock(lock, false)
	if held || err != nil {
		return false, err
	}
	return true, f.Close()
}

// forget removes what a server left that has ended; that of a Compose project
// ends here.
func forget(path string, state *detachedState) error {
	if state.Project != nil {
		return errors.Join(state.Project.down(), os.Remove(path))
	}
	if !strings.HasPrefix(filepath.Base(state.Dir), "anywire-") {
		return fmt.Errorf("%s names the data folder %q, which is not one of ours: left in place", path, state.Dir)
	}
	return errors.Join(os.RemoveAll(state.Dir), os.Remove(path))
}

func readState(path string) (*detachedState, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read what is up: %w", err)
	}
	var state detachedState
	if err := json.Unmarshal(data, &state); err != nil {
		return nil, fmt.Errorf("%s does not say what is up: %w", path, err)
	}
	return &state, nil
}

func writeState(path string, state detachedState) error {
	data, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("write down what is up: %w", err)
	}
	if err := os.WriteFile(path+".part", data, 0o600); err != nil {
		return fmt.Errorf("write down what is up: %w", err)
	}
	if err := os.Rename(path+".part", path); err != nil {
		return fmt.Errorf("write down what is up: %w", err)
	}
	return nil
}
