package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/drivertest"
)

// Environment of the process that is killed.
const (
	victimDir    = "ANYWIRE_TEST_VICTIM_DIR"
	victimListen = "ANYWIRE_TEST_VICTIM_LISTEN"
)

const (
	topic = "tasks"
	// longLease is one that does not end within a test.
	longLease = 10 * time.Minute
)

func texts(from, to int) []*driver.Message {
	var msgs []*driver.Message
	for i := from; i <= to; i++ {
		msgs = append(msgs, &driver.Message{Key: "key", Body: []byte(strconv.Itoa(i))})
	}
	return msgs
}

func subscription(ordered bool) driver.Subscription {
	s := driver.Subscription{Topic: topic, Group: "group", Window: 10, Lease: longLease, Ordered: ordered}
	if ordered {
		s.Shards, s.Group = []int{0}, "ordered"
	}
	return s
}

// take receives n messages.
func take(ctx context.Context, src driver.Source, n int) ([]*driver.Message, error) {
	var held []*driver.Message
	for len(held) < n {
		msgs, err := src.Receive(ctx, n-len(held))
		if err != nil {
			return held, fmt.Errorf("after %d of %d messages: %w", len(held), n, err)
		}
		held = append(held, msgs...)
	}
	return held, nil
}

func acks(msgs []*driver.Message) []driver.Settlement {
	var list []driver.Settlement
	for _, m := range msgs {
		list = append(list, driver.Settlement{Token: m.Token})
	}
	return list
}

func bodies(msgs []*driver.Message) []string {
	var list []string
	for _, m := range msgs {
		list = append(list, string(m.Body))
	}
	return list
}

// victim publishes 1 to 8, takes 1 to 5 in two groups, acknowledges 2 and 4,
// takes a lease, and waits for its death.
func victim() {
	ctx := context.Background()
	d, err := Open(ctx, Options{Dir: os.Getenv(victimDir), Listen: os.Getenv(victimListen)})
	if err == nil {
		err = d.Publish(ctx, topic, texts(1, 8))
	}
	for _, ordered := range []bool{false, true} {
		if err == nil {
			err = hold(ctx, d, ordered)
		}
	}
	if err == nil {
		_, err = d.Acquire(ctx, "scope", "shard-0", "victim", longLease)
	}
	if err == nil {
		// The server writes down what was acknowledged ten times a second.
		<-time.After(300 * time.Millisecond)
	}
	runtime.GC() // a lock must not end with the last use of the driver
	runtime.GC()
	fmt.Println("ready", err)
	select {}
}

func hold(ctx context.Context, d *Driver, ordered bool) error {
	src, err := d.Subscribe(ctx, subscription(ordered))
	if err != nil {
		return err
	}
	held, err := take(ctx, src, 5)
	if err != nil {
		return err
	}
	return src.Settle(ctx, acks([]*driver.Message{held[1], held[3]}))
}

// murder runs a victim and kills it.
func murder(t *testing.T, dir, listen string) {
	t.Helper()
	cmd, stop := startVictim(t, dir, listen)
	stop()
	if cmd.ProcessState.Success() {
		t.Fatal("the victim ended by itself")
	}
}

// startVictim returns when the victim holds what it is to hold.
func startVictim(t *testing.T, dir, listen string) (cmd *exec.Cmd, kill func()) {
	t.Helper()
	cmd = exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), victimDir+"="+dir, victimListen+"="+listen)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "ready <nil>" {
		t.Fatalf("victim: %s %v", line, err)
	}
	return cmd, kill
}

// TestKilledProcess: what a dead process held comes at once, what it had
// acknowledged does not, and its leases are over.
func TestKilledProcess(t *testing.T) {
	t.Parallel()
	drivertest.Prove(t, "embedded", "broker death")
	dir := t.TempDir()
	murder(t, dir, "")
	start := time.Now()
	d := open(t, Options{Dir: dir})
	for _, ordered := range []bool{false, true} {
		src, err := d.Subscribe(t.Context(), subscription(ordered))
		if err != nil {
			t.Fatal(err)
		}
		got, err := take(t.Context(), src, 6)
		if err != nil {
			t.Fatal(err)
		}
		list := bodies(got)
		if !ordered {
			slices.Sort(list)
		}
		if want := []string{"1", "3", "5", "6", "7", "8"}; !slices.Equal(list, want) {
			t.Errorf("ordered %v: received %v, want %v", ordered, list, want)
		}
		for _, m := range got {
			redelivered := slices.Contains([]string{"1", "3", "5"}, string(m.Body))
			if redelivered != (m.Deliveries > 1) {
				t.Errorf("message %s has %d deliveries", m.Body, m.Deliveries)
			}
		}
		if err := src.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if _, err := d.Acquire(t.Context(), "scope", "shard-0", "me", longLease); err != nil {
		t.Errorf("the dead process's lease: %v", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestKilledListener: others may still hold what came from a server that
// listened, so nothing is taken from them.
func TestKilledListener(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	murder(t, dir, freeAddress(t))
	d := open(t, Options{Dir: dir})
	src, err := d.Subscribe(t.Context(), subscription(false))
	if err != nil {
		t.Fatal(err)
	}
	got, err := take(t.Context(), src, 3)
	if err != nil {
		t.Fatal(err)
	}
	if list := bodies(got); !slices.Equal(list, []string{"6", "7", "8"}) {
		t.Errorf("received %v, want what nobody holds", list)
	}
	_, err = d.Acquire(t.Context(), "scope", "shard-0", "me", longLease)
	if !errors.Is(err, driver.ErrHeld) {
		t.Errorf("the lease of another process: %v, want ErrHeld", err)
	}
}

// TestSecondOwner: a folder in use is refused, by name, owner and way out.
func TestSecondOwner(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"", freeAddress(t)} {
		dir := filepath.Join(t.TempDir(), "folder")
		cmd, kill := startVictim(t, dir, listen)
		_, err := Open(t.Context(), Options{Dir: dir})
		kill()
		if err == nil {
			t.Fatal("a second process opened the folder")
		}
		wants := []string{dir, strconv.Itoa(cmd.Process.Pid), "kind: nats", "another dir", listen}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error does not say %q: %v", want, err)
			}
		}
	}
}

// TestSecondOwnerInTheProcess: the same goes for two drivers of one process.
func TestSecondOwnerInTheProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, Options{Dir: dir})
	if _, err := Open(t.Context(), Options{Dir: dir}); !errors.Is(err, errLocked) {
		t.Fatalf("second Open: %v, want that the folder is locked", err)
	}
	if err := d.Publish(t.Context(), topic, texts(1, 1)); err != nil {
		t.Errorf("the first driver suffers from the refusal of the second: %v", err)
	}
	if err := d.Close(t.Context()); err != nil {
		t.Error(err)
	}
	again := open(t, Options{Dir: dir})
	src, err := again.Subscribe(t.Context(), subscription(false))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := take(t.Context(), src, 1); err != nil {
		t.Error(err)
	}
}
