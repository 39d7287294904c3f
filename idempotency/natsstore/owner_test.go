package natsstore

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/storetest"
	"github.com/anywire/anywire/transport/natsdriver/embedded"
)

// Environment of the process that is killed.
const (
	victimDir    = "ANYWIRE_TEST_VICTIM_DIR"
	victimListen = "ANYWIRE_TEST_VICTIM_LISTEN"
)

// longLease does not end within a test.
const longLease = 10 * time.Minute

// TestContractEmbedded runs the suite on a folder: every process of the suite is
// of the same owner.
func TestContractEmbedded(t *testing.T) {
	nc := onFolder(t, embedded.Options{Dir: t.TempDir()})
	storetest.Run(t, harness("embedded", func(tb testing.TB) *Store {
		tb.Helper()
		return on(tb, nc, contractOptions)
	}, nil))
}

func claimOf(name string) idempotency.Claim {
	return idempotency.Claim{
		Key: idempotency.NamedKey("system/group", "type", name), Token: idempotency.NewToken(), Lease: longLease, TTL: DefaultTTL,
	}
}

// victim owns the folder of the environment, begins a record and waits for its
// death. With a listen address another process, which this one is too, begins one
// through the port.
func victim() {
	ctx := context.Background()
	d, err := embedded.Open(ctx, embedded.Options{Dir: os.Getenv(victimDir), Listen: os.Getenv(victimListen)})
	if err == nil {
		err = beginAs(ctx, d.Native(), "owner")
	}
	if address := os.Getenv(victimListen); err == nil && address != "" {
		var nc *nats.Conn
		if nc, err = nats.Connect("nats://" + address); err == nil {
			err = beginAs(ctx, nc, "attached")
		}
	}
	fmt.Println("ready", err)
	select {}
}

func beginAs(ctx context.Context, client any, name string) error {
	s, err := Kind().OpenOn(ctx, client, idempotency.Shared{})
	if err != nil {
		return err
	}
	c := claimOf(name)
	c.Alone = true
	verdicts, err := s.Begin(ctx, []idempotency.Claim{c})
	if err == nil && verdicts[0].State != idempotency.Acquired {
		err = fmt.Errorf("%v", verdicts[0].State)
	}
	return err
}

// TestKilledOwner: what a process began that owned a folder and died is acquired
// at once by the next owner, as a death. What another process began through the
// port keeps its lease, as does anything for one that does not own the folder.
func TestKilledOwner(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"", freeAddress(t)} {
		dir := t.TempDir()
		murder(t, dir, listen)
		nc := onFolder(t, embedded.Options{Dir: dir, Listen: listen})
		s := on(t, nc, nil)
		if listen != "" {
			attached := opened(t, "nats://"+listen, func(o *Options) { o.Bucket = DefaultBucket })
			wantState(t, attached, claimOf("owner"), idempotency.Busy)
			wantState(t, s, claimOf("attached"), idempotency.Busy)
		}
		v := wantState(t, s, claimOf("owner"), idempotency.Acquired)
		if v.Deaths != 1 || v.DeathsAlone != 1 || v.Attempts != 1 {
			t.Errorf("listen %q: %+v, want one death, alone", listen, v)
		}
		wantState(t, s, claimOf("owner"), idempotency.Busy) // that is ours now
	}
}

// TestSameOwner: records of the same owner keep their leases, whichever store
// began them.
func TestSameOwner(t *testing.T) {
	t.Parallel()
	nc := onFolder(t, embedded.Options{Dir: t.TempDir()})
	wantState(t, on(t, nc, nil), claimOf("a"), idempotency.Acquired)
	wantState(t, on(t, nc, nil), claimOf("a"), idempotency.Busy)
}

func murder(t *testing.T, dir, listen string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), victimDir+"="+dir, victimListen+"="+listen)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil || strings.TrimSpace(line) != "ready <nil>" {
		t.Fatalf("victim: %s %v", line, err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
