//go:build unix

package integration

import (
	"syscall"
	"testing"
	"time"
)

// TestTerminatedUnderLoad: SIGTERM ends a worker when what it runs is finished, and
// a second one ends it at once. The next worker finds all the rest.
func TestTerminatedUnderLoad(t *testing.T) {
	t.Parallel()
	eachBrokerOrder(t, func(t *testing.T, b *broker, order string) {
		t.Helper()
		const jobs, gate = 200, 20
		r := b.role(t, b.shared(t), order, time.Second)
		r.Main = true
		first, stuck := r, r
		first.Publish, first.Gate, stuck.Hang = jobs, gate, true
		lines := func(prefix string) int { return beginning(linesOf(t, r.Journal), prefix) }

		c := spawn(t, first)
		await(t, "it works", func() bool { return lines("start ") > gate })
		c.drain(t)
		if started, done := lines("start "), lines("done "); started != done {
			t.Errorf("%d handlers were started and %d finished before the process drained", started, done)
		}
		c = spawn(t, stuck)
		before := lines("start ")
		await(t, "handlers hang", func() bool { return lines("start ") > before })
		sendSignal(t, c, syscall.SIGTERM)
		await(t, "a second signal ends it", func() bool {
			_ = c.cmd.Process.Signal(syscall.SIGTERM) // two at once would be one
			return isClosed(c.ended)
		})
		if code := c.cmd.ProcessState.ExitCode(); code != 3 {
			t.Errorf("exit code %d, want 3: %s", code, c.out.String())
		}
		c = spawn(t, r)
		await(t, "everything is handled", func() bool { return lines("done ") == jobs }, func() any { return lines("done ") })
		c.drain(t)
	})
}
