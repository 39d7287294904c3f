package natsstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// bucket makes sure that the records have a place, and that it is as it must be.
type bucket struct {
	js     jetstream.JetStream
	nc     *nats.Conn
	o      Options
	name   string // of the stream
	turn   chan struct{}
	good   atomic.Bool  // it was there and is not known to be gone
	before atomic.Bool  // it was there once
	most   atomic.Int64 // bytes of a value, if it says so
	age    atomic.Int64 // after which it drops records; 0: never
	each   atomic.Bool  // a record may have a shorter one
}

const (
	// askFor bounds one request about the bucket, so that a server which comes
	// back is asked again.
	askFor = 2 * time.Second
	// roomForHead is what a message may need beside its value.
	roomForHead = 512
)

func newBucket(nc *nats.Conn, js jetstream.JetStream, o Options) *bucket {
	return &bucket{js: js, nc: nc, o: o, name: "KV_" + o.Bucket, turn: make(chan struct{}, 1)}
}

// ready finds, checks or makes the bucket, over passing trouble, until ctx ends.
// made says that one which was there is gone, and was made again.
func (b *bucket) ready(ctx context.Context) (made bool, err error) {
	if b.good.Load() {
		return false, nil
	}
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return false, ended(ctx)
	}
	for !b.good.Load() {
		created, err := b.try(ctx)
		switch {
		case err == nil:
			made = created && b.before.Swap(true)
			b.before.Store(true)
			b.good.Store(true)
		case !isPassing(err) || b.nc.IsClosed():
			return false, b.wrap(err)
		case !pause(ctx, glance):
			return false, fmt.Errorf("%w: %w", b.wrap(err), ended(ctx))
		}
	}
	if made {
		b.o.Logger.Error("idempotency records are lost: their bucket was gone and is made anew; "+
			"what was handled before is handled again if it is delivered again", "bucket", b.o.Bucket)
	}
	return made, nil
}

func (b *bucket) wrap(err error) error { return fmt.Errorf("bucket %q of NATS: %w", b.o.Bucket, err) }

func (b *bucket) try(ctx context.Context) (created bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	if !b.nc.IsConnected() {
		return false, errDisconnected
	}
	stream, err := b.js.Stream(ctx, b.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if b.o.Require {
			return false, fmt.Errorf("%w, and require forbids to make it", jetstream.ErrBucketNotFound)
		}
		stream, created, err = b.create(ctx)
	}
	if err != nil {
		return false, b.because(err)
	}
	return created, b.check(&stream.CachedInfo().Config)
}

// because finds the reason of a request without answer: the server tells what it
// forbids beside the answers.
func (b *bucket) because(err error) error {
	said := b.nc.LastError()
	if errors.Is(err, context.DeadlineExceeded) && errors.Is(said, nats.ErrPermissionViolation) &&
		strings.Contains(said.Error(), b.name) {
		return said
	}
	return err
}

// isPassing reports whether the same request may succeed later.
func isPassing(err error) bool {
	return errors.Is(err, errDisconnected) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrDisconnected) ||
		errors.Is(err, jetstream.ErrNoStreamResponse)
}

// create makes the bucket as KV clients do; one that was made at the same moment
// is fine. Revisions begin at the time, in microseconds: those of a bucket that
// was deleted do not come again, so what a process knows of it changes nothing.
func (b *bucket) create(ctx context.Context) (_ jetstream.Stream, created bool, err error) {
	cfg := jetstream.StreamConfig{
		Name: b.name, Description: "idempotency records, kept by anywire",
		Subjects: []string{"$KV." + b.o.Bucket + ".>"},
		Storage:  b.o.storage(), Replicas: b.o.Replicas,
		MaxAge: b.o.TTL, Duplicates: min(b.o.TTL, 2*time.Minute),
		MaxMsgsPerSubject: 1, MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1,
		Discard:     jetstream.DiscardNew,
		AllowDirect: true, AllowRollup: true, DenyDelete: true,
		AllowMsgTTL: true, // of servers from 2.11 on
		FirstSeq:    uint64(time.Now().UnixMicro()),
	}
	if b.o.MaxRecords > 0 {
		cfg.MaxMsgs, cfg.Discard = int64(b.o.MaxRecords), jetstream.DiscardOld
	}
	stream, err := b.js.CreateStream(ctx, cfg)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		stream, err = b.js.Stream(ctx, b.name)
		return stream, false, err
	}
	return stream, err == nil, err
}

// check refuses settings that lose records or withhold them, and warns of those
// that are not what was asked for. Nothing is changed: others use the bucket too.
func (b *bucket) check(cfg *jetstream.StreamConfig) error {
	switch want := "$KV." + b.o.Bucket + ".>"; {
	case cfg.MaxAge > 0 && cfg.MaxAge < b.o.TTL:
		return fmt.Errorf("keeps records for %v, and the ttl is %v: set ttl to %v or less, name another bucket, "+
			"or change this one with nats stream edit %s --max-age=%v", cfg.MaxAge, b.o.TTL, cfg.MaxAge, b.name, b.o.TTL)
	case !slices.Equal(cfg.Subjects, []string{want}):
		return fmt.Errorf("has the subjects %v, and %s is needed: it is no bucket, name another", cfg.Subjects, want)
	case cfg.Retention != jetstream.LimitsPolicy:
		return fmt.Errorf("has retention %v, and %v is needed", cfg.Retention, jetstream.LimitsPolicy)
	case cfg.NoAck:
		return errors.New("has no_ack true, and false is needed: it confirms nothing")
	case !cfg.AllowDirect:
		return errors.New("has allow_direct false, and true is needed to read records")
	case cfg.Mirror != nil || len(cfg.Sources) > 0 || cfg.SubjectTransform != nil:
		return errors.New("mirrors, sources or transforms what it keeps, and records are written to it directly")
	case cfg.Sealed:
		return errors.New("is sealed, and takes no records")
	case cfg.MaxMsgSize > 0 && cfg.MaxMsgSize < 2*roomForHead:
		return fmt.Errorf("takes values of %d bytes, and records need %d: raise its max value size", cfg.MaxMsgSize, 2*roomForHead)
	}
	b.warn(cfg)
	b.most.Store(int64(cfg.MaxMsgSize))
	b.age.Store(int64(cfg.MaxAge))
	b.each.Store(cfg.AllowMsgTTL)
	return nil
}

func (b *bucket) warn(cfg *jetstream.StreamConfig) {
	log := b.o.Logger.With("bucket", b.o.Bucket)
	if cfg.MaxAge == 0 || cfg.MaxAge > b.o.TTL {
		log.Warn("idempotency bucket keeps records for longer than asked for", "max_age", cfg.MaxAge, "ttl", b.o.TTL)
	}
	if cfg.Storage != b.o.storage() {
		log.Warn("idempotency bucket has another storage than asked for: memory does not survive the server",
			"storage", cfg.Storage.String(), "asked", b.o.Storage)
	}
	if cfg.Replicas != b.o.Replicas {
		log.Warn("idempotency bucket has another number of copies than asked for", "replicas", cfg.Replicas, "asked", b.o.Replicas)
	}
	if asked := int64(b.o.MaxRecords); max(cfg.MaxMsgs, 0) != asked {
		log.Warn("idempotency bucket has another bound than asked for; 0 is none", "max_msgs", max(cfg.MaxMsgs, 0), "max_records", asked)
	}
	if cfg.MaxBytes > 0 {
		log.Warn("idempotency bucket has a bound in bytes: when it is full, messages wait or the oldest records are lost",
			"max_bytes", cfg.MaxBytes, "discard", cfg.Discard.String())
	}
	if cfg.Discard == jetstream.DiscardNew && cfg.MaxMsgs > 0 {
		log.Warn("idempotency bucket takes no more records when it is full, and messages wait", "max_msgs", cfg.MaxMsgs)
	}
	if cfg.MaxMsgsPerSubject != 1 {
		log.Warn("idempotency bucket keeps a history, which nobody reads", "history", cfg.MaxMsgsPerSubject)
	}
	if cfg.PersistMode == jetstream.AsyncPersistMode {
		log.Warn("idempotency bucket confirms records before they are written: the death of the server loses the last", "persist_mode", "async")
	}
}

// room is the longest value of one key.
func (b *bucket) room() int {
	most := b.nc.MaxPayload()
	if limit := b.most.Load(); limit > 0 {
		most = min(most, limit)
	}
	return max(int(most)-roomForHead, roomForHead)
}

// ttl is what a message says of its own time to live: nothing where that of the
// bucket does. An update without it would have the bucket's again.
func (b *bucket) ttl(d time.Duration) string {
	if age := time.Duration(b.age.Load()); d <= 0 || age > 0 && d >= age || !b.each.Load() {
		return ""
	}
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
