package natsstore

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/internal/brokertest"
)

// foreign is the stream of a bucket that somebody else has made.
func foreign(t *testing.T, change func(*jetstream.StreamConfig)) (url, bucket string) {
	t.Helper()
	url, bucket = brokertest.SharedNATS(t).URL, "foreign-"+nuid.Next()
	helper := opened(t, url, nil)
	cfg := jetstream.StreamConfig{
		Name: "KV_" + bucket, Subjects: []string{"$KV." + bucket + ".>"}, MaxAge: DefaultTTL, MaxMsgsPerSubject: 1,
		AllowDirect: true, AllowRollup: true, DenyDelete: true, Discard: jetstream.DiscardNew,
	}
	change(&cfg)
	_, err := helper.bucket.js.CreateStream(t.Context(), cfg)
	wantNil(t, err)
	return url, bucket
}

// TestForeignBucket: a bucket that would lose or withhold records is refused, with
// what is wrong with it.
func TestForeignBucket(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*jetstream.StreamConfig){
		"keeps records for 1h0m0s, and the ttl is 24h0m0s": func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"has the subjects":           func(c *jetstream.StreamConfig) { c.Subjects = []string{c.Name + ".>"} },
		"has retention":              func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"has no_ack true":            func(c *jetstream.StreamConfig) { c.NoAck = true },
		"has allow_direct false":     func(c *jetstream.StreamConfig) { c.AllowDirect = false },
		"mirrors, sources or transf": func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "other"}} },
		"is sealed":                  func(c *jetstream.StreamConfig) { c.Sealed = true },
		"takes values of 100 bytes":  func(c *jetstream.StreamConfig) { c.MaxMsgSize = 100 },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			var sealed bool
			url, bucket := foreign(t, func(c *jetstream.StreamConfig) {
				change(c)
				sealed, c.Sealed = c.Sealed, false // not at once
			})
			if sealed {
				seal(t, url, bucket)
			}
			_, err := Open(t.Context(), Options{URL: url, Bucket: bucket})
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), bucket) {
				t.Errorf("%v, want that %q %s", err, bucket, want)
			}
		})
	}
}

func seal(t *testing.T, url, bucket string) {
	t.Helper()
	js := opened(t, url, nil).bucket.js
	stream, err := js.Stream(t.Context(), "KV_"+bucket)
	wantNil(t, err)
	cfg := stream.CachedInfo().Config
	cfg.Sealed = true
	_, err = js.UpdateStream(t.Context(), cfg)
	wantNil(t, err)
}

// TestWarned: a bucket that is only not what was asked for is used as it is, and
// said.
func TestWarned(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*jetstream.StreamConfig){
		"longer than asked for":    func(c *jetstream.StreamConfig) { c.MaxAge = 0 },
		"another storage":          func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"another bound":            func(c *jetstream.StreamConfig) { c.MaxMsgs = 7 },
		"takes no more records":    func(c *jetstream.StreamConfig) { c.MaxMsgs = 8 },
		"a bound in bytes":         func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 },
		"keeps a history":          func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 3 },
		"before they are written":  func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode },
		"level=WARN msg=\"\" none": nil,
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			var log journal
			var before jetstream.StreamConfig
			url, bucket := foreign(t, func(c *jetstream.StreamConfig) {
				if change != nil {
					change(c)
				}
			})
			s := opened(t, url, func(o *Options) { o.Bucket, o.Logger = bucket, log.logger() })
			if change == nil {
				if log.String() != "" {
					t.Errorf("a bucket as asked for: %s", log.String())
				}
			} else {
				log.expect(t, want, bucket)
			}
			stream, err := s.bucket.js.Stream(t.Context(), s.bucket.name)
			wantNil(t, err)
			before = stream.CachedInfo().Config
			c := claimOf("a")
			wantState(t, s, c, idempotency.Acquired)
			wantNil(t, completed(t, s, c))
			after, err := stream.Info(t.Context())
			wantNil(t, err)
			if fmt.Sprint(before) != fmt.Sprint(after.Config) {
				t.Errorf("it was changed from %v to %v", before, after.Config)
			}
		})
	}
}

func completed(t *testing.T, s *Store, c idempotency.Claim) error {
	t.Helper()
	return change(t, s, c, idempotency.Complete)
}

// TestKVBucket: a bucket that a KV client has made serves.
func TestKVBucket(t *testing.T) {
	t.Parallel()
	url, bucket := brokertest.SharedNATS(t).URL, "kv-"+nuid.Next()
	_, err := opened(t, url, nil).bucket.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket, TTL: DefaultTTL})
	wantNil(t, err)
	var log journal
	s := opened(t, url, func(o *Options) { o.Bucket, o.Logger = bucket, log.logger() })
	c := claimOf("a")
	c.TTL = time.Hour // less than the bucket's, which knows none of its own for each key: it is kept longer
	wantState(t, s, c, idempotency.Acquired)
	wantNil(t, change(t, s, c, idempotency.Complete))
	wantState(t, s, claimOf("a"), idempotency.Done)
	if log.String() != "" {
		t.Errorf("a bucket as asked for: %s", log.String())
	}
}

// TestOurBucket: what we make is a bucket for KV clients, and has what was asked
// for.
func TestOurBucket(t *testing.T) {
	t.Parallel()
	s := opened(t, brokertest.SharedNATS(t).URL, func(o *Options) { o.TTL, o.Storage = time.Hour, "memory" })
	wantState(t, s, claimOf("a"), idempotency.Acquired)
	kv, err := s.bucket.js.KeyValue(t.Context(), s.o.Bucket)
	wantNil(t, err)
	status, err := kv.Status(t.Context())
	wantNil(t, err)
	if status.TTL() != time.Hour || status.History() != 1 || status.Values() != 1 || status.Config().Storage != jetstream.MemoryStorage {
		t.Errorf("%+v", status.Config())
	}
	key := claimOf("a").Key
	entry, err := kv.Get(t.Context(), "system/group."+key.String()[len("system/group/"):])
	wantNil(t, err)
	var r idempotency.Record
	if err := r.UnmarshalBinary(entry.Value()); err != nil || r.Phase != idempotency.InProgress {
		t.Errorf("%+v, %v: want a record in progress", r, err)
	}
	if s.Stats().Records != 1 || s.Stats().Window != time.Hour {
		t.Errorf("%+v, want one record and an hour", s.Stats())
	}
}

// TestRequire: a bucket that is missing is not made.
func TestRequire(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Options{URL: brokertest.SharedNATS(t).URL, Bucket: "missing", Require: true})
	if err == nil || !strings.Contains(err.Error(), `"missing"`) || !strings.Contains(err.Error(), "require") {
		t.Errorf("%v, want what is missing and why it is not made", err)
	}
}

// TestMaxRecords: beyond the bound the oldest are forgotten, and the window says
// how long records live.
func TestMaxRecords(t *testing.T) {
	t.Parallel()
	s := opened(t, brokertest.SharedNATS(t).URL, func(o *Options) { o.MaxRecords = 10 })
	for i := range 20 {
		c := claimOf(fmt.Sprint(i))
		wantState(t, s, c, idempotency.Acquired)
		wantNil(t, change(t, s, c, idempotency.Complete))
	}
	wantState(t, s, claimOf("19"), idempotency.Done)
	wantState(t, s, claimOf("0"), idempotency.Acquired)
	if st := s.Stats(); st.Records != 10 || st.Window <= 0 || st.Window > time.Minute {
		t.Errorf("%+v, want 10 records and a window of some seconds", st)
	}
}

// TestLazily: New asks nothing of the server.
func TestLazily(t *testing.T) {
	t.Parallel()
	nc := opened(t, brokertest.SharedNATS(t).URL, nil).nc
	before := nc.Stats().OutMsgs
	s := on(t, nc, func(o *Options) { o.Bucket = "lazy-" + nuid.Next() })
	if now := nc.Stats().OutMsgs; now != before {
		t.Errorf("New has sent %d messages", now-before)
	}
	wantState(t, s, claimOf("a"), idempotency.Acquired)
	wantNil(t, s.Close(t.Context()))
	if nc.IsClosed() {
		t.Error("Close has closed a connection of the caller")
	}
}
