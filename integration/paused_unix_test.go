//go:build unix

package integration

import (
	"os"
	"syscall"
	"testing"
)

// TestPausedWorker: a worker that stood still for longer than its lease has lost
// what it held. Others handle it, nothing is lost between the two, and the first
// completions of a key keep their order.
func TestPausedWorker(t *testing.T) {
	t.Parallel()
	eachBrokerOrder(t, func(t *testing.T, b *broker, order string) {
		t.Helper()
		lease := b.shortLease(t)
		jobs := scale(400, 4000)
		r := b.role(t, b.shared(t), order, lease)
		first := r
		first.Publish = jobs
		zombie := spawn(t, first)
		done := func() int { return beginning(linesOf(t, r.Journal), "done ") }
		await(t, "the first works", func() bool { return done() > jobs/10 })
		sendSignal(t, zombie, syscall.SIGSTOP)
		before := done()
		heir := spawn(t, r)
		await(t, "the second works", func() bool { return done() > before+10 })
		last(t, 3*lease/2)
		sendSignal(t, zombie, syscall.SIGCONT)
		await(t, "everything is handled", func() bool { return done() == jobs }, func() any { return done() })
		zombie.drain(t)
		heir.drain(t)
		if order == "key" {
			checkRising(t, completions(t, r.Journal))
		}
	})
}

func sendSignal(t *testing.T, c *child, s os.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal: %v", err)
	}
}
