package transport

import "time"

// State is what a subscription is doing.
type State string

// The states of a subscription.
const (
	Starting State = "starting" // not subscribed yet
	Running  State = "running"  // fetching
	Waiting  State = "waiting"  // the broker does not answer, or gives this member no shard
	Blocked  State = "blocked"  // one key fills its lane, or a shard stands still: it is not fetched, or in part
	Draining State = "draining" // finishing what runs
)

// Health is a snapshot of one subscription.
type Health struct {
	Transport, Topic, Group string
	State                   State
	Since                   time.Time
	Reason                  string // why, where the state is not Running
	InFlight, Window        int    // deliveries that are not settled, and their bound
	Running                 int    // handlers at work
	LastSettled             time.Time
	Shards                  []int // those this member owns, where they have owners
	// Vanished counts messages that the broker dropped, by retention or because
	// somebody trimmed or deleted them, before this group had settled them: as far
	// as this member's driver can tell, since Subscribe began. One that a handler
	// had at that moment may have been handled all the same.
	Vanished uint64
}
