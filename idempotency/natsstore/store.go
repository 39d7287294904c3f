package natsstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/internal/natsconn"
)

// Store keeps records in a bucket. It may be used by many goroutines at once.
type Store struct {
	nc    *nats.Conn
	owned bool
	o     Options
	log   *slog.Logger

	bucket   *bucket
	wire     *wire
	cache    *cache
	subjects subjects
	api      string // before the names of JetStream's requests
	put      string // before subjects that are written to
	owner    string

	missed atomic.Int64 // when records were last found to be gone, in Unix seconds
}

var (
	_ idempotency.Store   = (*Store)(nil)
	_ idempotency.Counter = (*Store)(nil)
	_ idempotency.Closer  = (*Store)(nil)
)

// cacheSize is how many records a store remembers that are not settled.
const cacheSize = 1 << 16

// Owner is implemented by the [nats.InProcessConnProvider] of a server whose data
// has one owner at a time, such as that of transport/natsdriver/embedded. What was
// begun as another owner is over at once, as that one is dead.
type Owner interface {
	// Owner is unique for each time that the data is taken into possession.
	Owner() string
}

// New returns a store on a connection of the caller, who closes it after the
// store. The connection should reconnect for ever (nats.MaxReconnects(-1)) and
// buffer nothing meanwhile (nats.ReconnectBufSize(-1)). Nil options are the
// defaults; wrong ones are an error. It starts nothing: the first call finds the
// bucket, or makes it.
func New(nc *nats.Conn, o *Options) (*Store, error) {
	var options Options
	if o != nil {
		options = *o
	}
	options = options.withDefaults()
	if err := options.validate(); err != nil {
		return nil, fmt.Errorf("options of a NATS store: %w", err)
	}
	return newStore(nc, options, false)
}

func newStore(nc *nats.Conn, o Options, owned bool) (*Store, error) {
	s := &Store{nc: nc, owned: owned, o: o, log: o.Logger, wire: newWire(nc), cache: newCache(cacheSize), api: "$JS.API."}
	s.subjects.stem = "$KV." + o.Bucket + "."
	js, err := jetstream.New(nc)
	if o.Domain != "" {
		js, err = jetstream.NewWithDomain(nc, o.Domain)
		s.api = "$JS." + o.Domain + ".API."
		s.put = s.api
	}
	if err != nil {
		return nil, fmt.Errorf("options of a NATS store: %w", err)
	}
	s.bucket = newBucket(nc, js, o)
	if owner, ok := nc.Opts.InProcessServer.(Owner); ok {
		s.owner = owner.Owner()
	}
	return s, nil
}

// Open connects, finds the bucket or makes it, and returns a store that owns the
// connection. It tries for Options.ConnectTimeout; afterwards, connections are
// tried again for ever.
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("options of a NATS store: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.ConnectTimeout.Std(),
		fmt.Errorf("no answer within connect_timeout %v", o.ConnectTimeout))
	defer cancel()
	how := o.connection()
	how.More = append(slices.Clip(how.More), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		o.Logger.Warn("NATS client", "error", err)
	}))
	nc, err := natsconn.Connect(ctx, how)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", natsconn.Redact(o.URL), err)
	}
	s, err := newStore(nc, o, true)
	if err == nil {
		err = s.Ready(ctx)
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("NATS at %s: %w", natsconn.Redact(o.URL), err)
	}
	return s, nil
}

// Ready finds the bucket, or makes it, and checks its settings. Other calls do so
// when it is needed; this is for those who want to know before.
func (s *Store) Ready(ctx context.Context) error {
	made, err := s.bucket.ready(ctx)
	if made {
		s.cache.clear()
	}
	return err
}

// Close ends what is under way, and closes the connection if [Open] made it.
func (s *Store) Close(context.Context) error {
	s.wire.close()
	if s.owned {
		s.nc.Close()
	}
	return nil
}

// Begin implements [idempotency.Store]: one publish for each record that is new.
func (s *Store) Begin(ctx context.Context, claims []idempotency.Claim) ([]idempotency.Verdict, error) {
	verdicts := make([]idempotency.Verdict, len(claims))
	c := s.newCall(len(claims), func(j *job) bool { return s.begin(j, claims, verdicts) })
	c.all = true
	for i := range claims {
		c.add(i, &claims[i].Key)
	}
	for i := range c.jobs {
		// What is new is not read before. What we know of is not new.
		c.jobs[i].have = s.cache.get(c.jobs[i].key) == nil
	}
	if err := c.run(ctx); err != nil {
		return nil, fmt.Errorf("begin records in NATS: %w", err)
	}
	return verdicts, nil
}

// Update implements [idempotency.Store]: one publish for each record that this
// process has acquired, however many changes concern it.
func (s *Store) Update(ctx context.Context, changes []idempotency.Change) ([]error, error) {
	errs := make([]error, len(changes))
	c := s.newCall(len(changes), func(j *job) bool { return s.update(j, changes, errs) })
	for i := range changes {
		c.add(i, &changes[i].Key)
	}
	for i := range c.jobs {
		j := &c.jobs[i]
		if k := s.cache.get(j.key); k != nil {
			j.known, j.have, j.guess = *k, true, true
		}
	}
	if err := c.run(ctx); err != nil {
		return nil, fmt.Errorf("update records in NATS: %w", err)
	}
	return errs, nil
}

// begin applies the claims of a record, in order, to what is known of it. It
// reports whether the result has to be written.
func (s *Store) begin(j *job, claims []idempotency.Claim, verdicts []idempotency.Verdict) (write bool) {
	j.next, j.doc = j.known.record, nil
	left := j.known.left(time.Now(), s.owner)
	for _, i := range j.items {
		if j.known.broken != nil {
			verdicts[i] = idempotency.Verdict{State: idempotency.Broken, Err: j.known.broken}
			continue
		}
		verdicts[i] = j.next.Begin(&claims[i], left)
		if verdicts[i].State == idempotency.Acquired {
			write, left, j.ttl = true, claims[i].Lease, claims[i].TTL
		}
	}
	return write
}

// update applies the changes of a record, in order, to what is known of it. What
// we only remember does not decide that somebody else has the record, nor that
// there is nothing to settle.
func (s *Store) update(j *job, changes []idempotency.Change, errs []error) (write bool) {
	j.next, j.doc = j.known.record, nil
	for _, i := range j.items {
		before := j.next
		err := j.next.Apply(&changes[i])
		fenced := errors.Is(err, idempotency.ErrFenced)
		if j.guess && (fenced || changes[i].Op == idempotency.Settle && j.next.Phase != idempotency.Settled) {
			j.have = false
			return false
		}
		if fenced {
			err = s.fenced(j, &changes[i], err)
		}
		wrote := err == nil && (before.Phase == idempotency.InProgress && changes[i].Op != idempotency.Settle ||
			before.Phase == idempotency.Completed && j.next.Phase == idempotency.Settled)
		if wrote {
			j.next, err = s.fit(j, before)
			wrote = err == nil
		}
		errs[i] = err
		if wrote {
			write, j.ttl = true, changes[i].TTL
		}
	}
	return write
}

// fit writes down a record that has changed, and takes the change back if that is
// too long.
func (s *Store) fit(j *job, before idempotency.Record) (idempotency.Record, error) {
	if j.next.Phase == idempotency.Completed {
		j.next.Steps = nil // nothing runs any more that would ask for them
	}
	j.doc, _ = j.next.MarshalBinary() // never fails
	if len(j.doc) <= int(s.o.MaxRecord) {
		return j.next, nil
	}
	err := &envelope.Error{Code: envelope.TooLarge, Message: fmt.Sprintf(
		"the record of one message, its outputs and the results of its steps, would have %d bytes, and max_record is %v",
		len(j.doc), s.o.MaxRecord)}
	j.doc = nil
	return before, err
}

// fenced notes when a record is gone that we had: that is nobody's doing but an
// operator's, or its bound's.
func (s *Store) fenced(j *job, c *idempotency.Change, err error) error {
	if j.known.broken != nil {
		return fmt.Errorf("%w: %w", err, j.known.broken)
	}
	if j.known.record.Phase != 0 {
		return err
	}
	if now := time.Now().Unix(); now-s.missed.Swap(now) > 60 {
		s.log.Error("an idempotency record is gone while its message is being handled: was the bucket emptied, or is it too small?",
			"bucket", s.o.Bucket, "record", c.Key.String())
	}
	return fmt.Errorf("%w: it is gone", err)
}

// Stats implements [idempotency.Counter]. It asks the server, for at most a second.
func (s *Store) Stats() idempotency.Stats {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	stream, err := s.bucket.js.Stream(ctx, s.bucket.name)
	if err != nil {
		return idempotency.Stats{Records: -1}
	}
	info := stream.CachedInfo()
	st := idempotency.Stats{Records: int(info.State.Msgs), Window: info.Config.MaxAge}
	if info.Config.MaxMsgs > 0 && int64(info.State.Msgs) >= info.Config.MaxMsgs {
		st.Window = info.TimeStamp.Sub(info.State.FirstTime)
	}
	return st
}
