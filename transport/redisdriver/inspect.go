package redisdriver

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/internal/redisconn"
	"github.com/anywire/anywire/transport/driver"
)

var _ driver.Inspector = (*Driver)(nil)

// subjectServer is what findings about the server itself are about; the nodes of
// a Cluster have their addresses.
const subjectServer = "server"

// Inspect reads INFO, CONFIG, TIME and the user's rights of each master, and the
// streams and groups of use. What the user may not read becomes a finding. It
// changes nothing.
func (d *Driver) Inspect(ctx context.Context, use driver.Use) ([]driver.Finding, error) {
	if err := d.Ping(ctx); err != nil {
		return nil, err
	}
	x := &inspection{Driver: d, use: use}
	if err := x.nodes(ctx); err != nil {
		return x.found, err
	}
	if err := x.rights(ctx); err != nil {
		return x.found, err
	}
	for _, name := range x.topicNames() {
		if err := x.topic(ctx, name); err != nil {
			return x.found, err
		}
	}
	return x.found, nil
}

// inspection is one call of Inspect.
type inspection struct {
	*Driver

	use   driver.Use
	mu    sync.Mutex // nodes are asked side by side
	found []driver.Finding
}

func (x *inspection) good(check, subject, found string) {
	x.note(driver.Good, check, subject, found, "", "")
}

func (x *inspection) note(level driver.Level, check, subject, found, why, fix string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.found = append(x.found, driver.Finding{Level: level, Check: check, Subject: subject, Found: found, Why: why, Fix: fix})
}

// topicNames are all that is written or read, once.
func (x *inspection) topicNames() []string {
	names := slices.Clone(x.use.Writes)
	for _, r := range x.use.Reads {
		names = append(names, r.Topic)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// nodes looks at each master.
func (x *inspection) nodes(ctx context.Context) error {
	cluster, ok := x.client.(*redis.ClusterClient)
	if !ok {
		return x.node(ctx, subjectServer, x.client)
	}
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		return x.node(ctx, subjectServer+" "+node.Options().Addr, node)
	})
	slices.SortStableFunc(x.found, func(a, b driver.Finding) int { return strings.Compare(a.Subject, b.Subject) })
	return err
}

// node looks at one server.
func (x *inspection) node(ctx context.Context, subject string, client redis.UniversalClient) error {
	n := &nodeInspection{inspection: x, subject: subject}
	s, err := redisconn.AskServer(ctx, client)
	switch {
	case redisconn.IsAnswer(err, "NOPERM"):
		x.note(driver.Unknown, "version", subject, "not readable", "the user may not call INFO",
			"ACL SETUSER of the user with +info, or look at INFO with another user")
	case err != nil:
		return fmt.Errorf("inspect %s: %w", subject, wrap(err))
	default:
		n.info = s
	}
	if err := n.readConfig(ctx, client); err != nil {
		return fmt.Errorf("inspect %s: %w", subject, wrap(err))
	}
	n.version()
	n.role()
	n.durability()
	n.writable()
	n.eviction()
	n.headroom()
	return n.clock(ctx, client)
}

// Skews of clocks: the wire tolerates five seconds.
const (
	someSkew = time.Second
	mostSkew = 5 * time.Second
)

func (n *nodeInspection) clock(ctx context.Context, client redis.UniversalClient) error {
	before := time.Now()
	at, err := client.Time(ctx).Result()
	after := time.Now()
	if redisconn.IsAnswer(err, "NOPERM") {
		n.note(driver.Unknown, "clock", n.subject, "not readable", "the user may not call TIME, which the driver's scripts need as well",
			"ACL SETUSER of the user with +time")
		return nil
	}
	if err != nil {
		return fmt.Errorf("inspect %s: %w", n.subject, wrap(err))
	}
	var skew time.Duration // what the answer's way may explain is none
	switch {
	case at.Before(before):
		skew = at.Sub(before)
	case at.After(after):
		skew = at.Sub(after)
	}
	found := fmt.Sprintf("%v from this machine's", skew.Round(time.Millisecond))
	switch skew := skew.Abs(); {
	case skew < someSkew:
		n.good("clock", n.subject, found)
	case skew < mostSkew:
		n.note(driver.Warning, "clock", n.subject, found, "delays, deadlines and ages are off by as much", "synchronise the clocks (NTP)")
	default:
		n.note(driver.Danger, "clock", n.subject, found,
			"messages with an expiry time may count as expired before they are, and are then settled unhandled", "synchronise the clocks (NTP)")
	}
	return nil
}

// number reads a field of INFO or a setting; 0 where there is none.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
