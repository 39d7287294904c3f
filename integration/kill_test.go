package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/internal/faultproxy"
)

// TestKilledWorker: a message survives its worker's death. It is handled
// elsewhere once the lease is over.
func TestKilledWorker(t *testing.T) {
	t.Parallel()
	eachBrokerOrder(t, func(t *testing.T, b *broker, order string) {
		t.Helper()
		const lease, jobs = 4 * time.Second, 40
		r := b.role(t, b.shared(t), order, lease)
		inherit(t, r, jobs)
		if order == "key" {
			checkRising(t, completions(t, r.Journal))
		}
	})
}

// inherit has a worker killed whose handlers hang, and another one finish its jobs:
// only those that had begun begin again.
func inherit(t *testing.T, r role, jobs int) {
	t.Helper()
	hung := r
	hung.Hang, hung.Publish = true, jobs
	victim := spawn(t, hung)
	await(t, "handlers run", func() bool { return beginning(linesOf(t, r.Journal), "start ") >= 4 })
	victim.kill(t)
	held := linesOf(t, r.Journal)
	heir := spawn(t, r)
	await(t, "everything is handled", func() bool { return beginning(linesOf(t, r.Journal), "done ") == jobs },
		func() any { return linesOf(t, r.Journal) })
	for line, n := range linesOf(t, r.Journal) {
		if want := 1 + held[line]; strings.HasPrefix(line, "start") && n > want {
			t.Errorf("%s: %d times, want %d", line, n, want)
		}
	}
	heir.drain(t)
}

// TestKilledInARow: worker after worker dies in the middle of its work; the last
// one finds everything that was not handled.
func TestKilledInARow(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, b *broker) {
		t.Helper()
		kills := 10
		if b.protocol == faultproxy.Kafka { // each takes the group's session timeout
			kills = scale(2, kills)
		}
		const each = 10
		jobs := (kills + 1) * each * 2
		r := b.role(t, b.shared(t), keyed(t, b.name, b.capabilities(t)), b.shortLease(t))
		first := r
		first.Publish = jobs
		c := spawn(t, first)
		for range kills {
			before := beginning(linesOf(t, r.Journal), "done ")
			await(t, "it works", func() bool {
				return beginning(linesOf(t, r.Journal), "done ") >= min(before+each, jobs)
			}, func() any { return beginning(linesOf(t, r.Journal), "done ") })
			c.kill(t)
			c = spawn(t, r)
		}
		await(t, "everything is handled", func() bool { return beginning(linesOf(t, r.Journal), "done ") == jobs },
			func() any { return beginning(linesOf(t, r.Journal), "done ") })
		c.drain(t)
		if r.Order == "key" {
			checkRising(t, completions(t, r.Journal))
		}
	})
}

// TestKilledByName: a worker on Redis that is started again under its stable name
// handles at once what it held when it was killed, however long the lease.
func TestKilledByName(t *testing.T) {
	t.Parallel()
	b := brokers["redis"]
	const jobs = 40
	r := b.role(t, b.shared(t), "none", 10*time.Minute)
	r.Consumer = "worker-0"
	inherit(t, r, jobs)
}

// TestKilledEmbedded: a process that holds its own broker is killed three times
// and started again on the same folder. Every message ends handled, and what the
// dead process held is delivered at once, however long the lease.
func TestKilledEmbedded(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"none", "key"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			jobs := scale(300, 3000)
			r := role{Dir: t.TempDir(), Order: order, Lease: 10 * time.Minute, Journal: journalFile(t)}
			first := r
			first.Publish = jobs
			c := spawn(t, first)
			for kills := 1; kills <= 3; kills++ {
				await(t, fmt.Sprintf("enough for kill %d", kills), func() bool {
					lines := linesOf(t, r.Journal)
					return lines["published"] > 0 && beginning(lines, "done ") >= kills*jobs/5
				}, func() any { return beginning(linesOf(t, r.Journal), "done ") })
				c.kill(t)
				c = spawn(t, r)
			}
			await(t, "everything is handled", func() bool { return beginning(linesOf(t, r.Journal), "done ") == jobs },
				func() any { return beginning(linesOf(t, r.Journal), "done ") })
			c.drain(t)
			if order == "key" {
				checkRising(t, completions(t, r.Journal))
			}
		})
	}
}
