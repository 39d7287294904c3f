package natsdriver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/transport/driver"
)

var _ driver.Inspector = (*Driver)(nil)

// What findings are about, beside topics and groups.
const subjectServer = "server"

// Parts of a bound from which an inspection speaks up.
const (
	nearlyFull = 0.8
	almostFull = 0.95
)

// Inspect reads what a client may read: the server's greeting, the account, the
// streams and consumers of use, the user's rights, and, from the server's
// monitoring or the system account where one of them answers, how often it
// writes to the disk. It changes nothing.
func (d *Driver) Inspect(ctx context.Context, use driver.Use) ([]driver.Finding, error) {
	if err := d.ready(ctx); err != nil {
		return nil, err
	}
	account, err := d.js.AccountInfo(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask for JetStream: %w", wrap(err))
	}
	x := &inspection{Driver: d, use: use, account: account, streams: map[string]*jetstream.StreamInfo{}}
	x.user, x.userErr = x.askUser(ctx)
	x.version()
	x.maxPayload()
	for _, name := range x.topicNames() {
		if err := x.topic(ctx, name); err != nil {
			return x.found, err
		}
	}
	for _, r := range use.Reads {
		if err := x.group(ctx, r); err != nil {
			return x.found, err
		}
	}
	x.leases(ctx)
	x.accountLimits()
	x.clock()
	x.rights()
	x.syncing(ctx)
	return slices.Compact(x.found), nil
}

// inspection is one call of Inspect.
type inspection struct {
	*Driver

	use     driver.Use
	account *jetstream.AccountInfo
	user    *userInfo // what it may do; nil: not known
	userErr error
	streams map[string]*jetstream.StreamInfo // by topic; missing: there is none
	skew    *time.Duration                   // of the server's clock; nil: not known
	missing int                              // topics without a stream
	// bucketThere: the bucket of leases need not be made.
	bucketThere bool
	found       []driver.Finding
}

func (x *inspection) good(check, subject, found string) {
	x.found = append(x.found, driver.Finding{Check: check, Subject: subject, Found: found})
}

func (x *inspection) note(level driver.Level, check, subject, found, why, fix string) {
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

func (x *inspection) version() {
	version := x.nc.ConnectedServerVersion()
	if x.canPin() {
		x.good("version", subjectServer, "nats-server "+version)
		return
	}
	x.note(driver.Warning, "version", subjectServer, "nats-server "+version,
		"before 2.11 a server cannot pin a consumer to one client: a worker that lost its shard may get messages until it notices",
		"upgrade to 2.11 or later")
}

// maxPayload compares, though Open did: a connection that was handed in has not
// been looked at, and a server may come back with another setting.
func (x *inspection) maxPayload() {
	limit, most := x.nc.MaxPayload(), int64(x.o.MaxBody)
	found := fmt.Sprintf("%d bytes, max_body of the transport is %v", limit, x.o.MaxBody)
	if limit >= most {
		x.good("max_payload", subjectServer, found)
		return
	}
	x.note(driver.Danger, "max_payload", subjectServer, found, "the server ends the connection on a larger message",
		fmt.Sprintf("set max_payload: %d in the server's configuration, or lower max_body", most))
}

// accountLimits compares what the account uses with what it may use.
func (x *inspection) accountLimits() {
	a := x.account
	for _, l := range []struct {
		check string
		used  int64
		most  int64
	}{
		{"account storage", int64(a.Store), a.Limits.MaxStore},
		{"account memory", int64(a.Memory), a.Limits.MaxMemory},
		{"account streams", int64(a.Streams + x.missing), int64(a.Limits.MaxStreams)},
	} {
		if l.most <= 0 || len(a.Tiers) > 0 {
			continue
		}
		found := fmt.Sprintf("%d of %d", l.used, l.most)
		switch part := float64(l.used) / float64(l.most); {
		case part > 1 || part >= almostFull && l.check != "account streams":
			x.note(driver.Danger, l.check, subjectServer, found, "when it is full, publishing waits and then fails; topics cannot be made",
				"raise the account's limit, or delete streams that nobody needs: nats stream report")
		case part >= nearlyFull && l.check != "account streams":
			x.note(driver.Warning, l.check, subjectServer, found, "when it is full, publishing waits and then fails",
				"raise the account's limit, or shorten the retention of topics")
		default:
			x.good(l.check, subjectServer, found)
		}
	}
}

// Skews of clocks: the wire tolerates five seconds.
const (
	someSkew = time.Second
	mostSkew = 5 * time.Second
)

func (x *inspection) clock() {
	if x.skew == nil {
		x.note(driver.Unknown, "clock", subjectServer, "not read", "no stream is there yet that would tell the server's time",
			"run this again once the agents have run, or compare the clocks yourself")
		return
	}
	found := fmt.Sprintf("%v from this machine's", x.skew.Round(time.Millisecond))
	switch skew := x.skew.Abs(); {
	case skew < someSkew:
		x.good("clock", subjectServer, found)
	case skew < mostSkew:
		x.note(driver.Warning, "clock", subjectServer, found, "delays, deadlines and ages are off by as much", "synchronise the clocks (NTP)")
	default:
		x.note(driver.Danger, "clock", subjectServer, found,
			"messages with an expiry time may count as expired before they are, and are then settled unhandled", "synchronise the clocks (NTP)")
	}
}

// tell notes the server's time, which came between the two of ours.
func (x *inspection) tell(at, before, after time.Time) {
	if at.IsZero() {
		return
	}
	var skew time.Duration // what the answer's way may explain is none
	switch {
	case at.Before(before):
		skew = at.Sub(before)
	case at.After(after):
		skew = at.Sub(after)
	}
	if x.skew == nil || skew.Abs() < x.skew.Abs() {
		x.skew = &skew
	}
}

// mayAsk reports whether the user may put a question to JetStream, and notes
// that it may not: the server would leave it unanswered.
func (x *inspection) mayAsk(check, subject, question string) bool {
	question = x.api() + question
	if x.user.publish().allows(question) {
		return true
	}
	x.note(driver.Unknown, check, subject, "not readable", "the user may not publish to "+question,
		"allow it, or look with another user: nats stream info, nats consumer info")
	return false
}

// unanswered notes a question that the server left unanswered, which it does
// where a user has no right to put it.
func (x *inspection) unanswered(ctx context.Context, check, subject string, err error) bool {
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return false
	}
	x.note(driver.Unknown, check, subject, "no answer", "the user may have no right to ask",
		"allow it, or look with another user: nats stream info, nats consumer info")
	return true
}

// leases looks for the bucket, which one with the right has to make.
func (x *inspection) leases(ctx context.Context) {
	if !slices.ContainsFunc(x.use.Reads, func(r driver.Reading) bool { return r.Ordered }) ||
		!x.user.publish().allows(x.api()+"STREAM.INFO.KV_"+leaseBucket) {
		return
	}
	ctx, cancel := x.ask(ctx)
	defer cancel()
	_, err := x.js.Stream(ctx, "KV_"+leaseBucket)
	x.bucketThere = err == nil
}

// ask bounds a question of which it is not known whether the user may put it.
func (x *inspection) ask(ctx context.Context) (context.Context, context.CancelFunc) {
	if x.userErr == nil {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, 2*askTimeout)
}

// api is how the subjects of JetStream's questions begin.
func (x *inspection) api() string {
	if x.o.Domain != "" {
		return "$JS." + x.o.Domain + ".API."
	}
	return "$JS.API."
}
