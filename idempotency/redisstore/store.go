package redisstore

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/internal/redisconn"
)

// Store keeps records on one Redis. It may be used by many goroutines at once.
type Store struct {
	client redis.UniversalClient
	o      Options
	owned  bool
	err    error       // of the options or the client: every call returns it
	split  atomic.Bool // a script may touch one bucket only

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

var (
	_ idempotency.Store  = (*Store)(nil)
	_ idempotency.Closer = (*Store)(nil)
)

// New makes a store on a client of the caller, who closes it after the store: a
// *redis.Client, also one of NewFailoverClient, a *redis.ClusterClient, or what
// wraps one of them. Its timeouts bound how long a call whose ctx has ended goes on
// behind the scenes; set ContextTimeoutEnabled, and a deadline ends that too. Nil
// options are the defaults; wrong ones are the error of every call.
func New(client redis.UniversalClient, o *Options) *Store {
	var options Options
	if o != nil {
		options = *o
	}
	options = options.withDefaults()
	s := &Store{client: client, o: options, err: errors.Join(options.validateRecords(), usableClient(client))}
	_, single := client.(*redis.Client)
	s.split.Store(!single)
	return s
}

// usableClient refuses clients that would lose records.
func usableClient(client redis.UniversalClient) error {
	if v := reflect.ValueOf(client); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return errors.New("client is nil")
	}
	if _, ok := client.(*redis.Ring); ok {
		return errors.New("client is a *redis.Ring, which looks for records elsewhere when a server is away: " +
			"use a *redis.Client, also one for sentinels, or a *redis.ClusterClient")
	}
	return nil
}

// Open connects and makes a store that owns the connections. It tries for
// Options.ConnectTimeout, as a server may be starting; what waiting does not cure
// is returned at once. Afterwards, connections are tried again for ever.
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("options of a Redis store: %w", err)
	}
	conn := o.connection()
	client, err := conn.NewClient()
	if err != nil {
		return nil, fmt.Errorf("options of a Redis store: %w", err)
	}
	s := New(client, &o)
	s.owned = true
	ctx, cancel := context.WithTimeoutCause(ctx, conn.ConnectTimeout,
		fmt.Errorf("no answer within connect_timeout %v", o.ConnectTimeout))
	defer cancel()
	if err := s.probe(ctx, conn); err != nil {
		_ = client.Close()
		return nil, fmt.Errorf("connect to Redis at %s: %w", conn.Place(), err)
	}
	return s, nil
}

// probe finds out whether the server is one that can be used, and logs what should
// be known of it from the start.
func (s *Store) probe(ctx context.Context, conn redisconn.Config) error {
	server, err := conn.Await(ctx, s.client, explain)
	if err != nil {
		return err
	}
	if server == nil {
		return redisconn.CheckBulk(ctx, s.client, "max_record", s.o.MaxRecord)
	}
	if !server.Tested() {
		s.o.Logger.Info("the store is not tested with this version", "server", server.String(), "tested", "Redis "+redisconn.TestedVersion)
	}
	if policy := server.Fields["maxmemory_policy"]; policy != "" && policy != "noeviction" {
		s.o.Logger.Error("this server forgets records when its memory is short: what they stand for is then handled again",
			"policy", policy, "maxmemory", server.Fields["maxmemory"], "fix", "CONFIG SET maxmemory-policy noeviction, and in redis.conf")
	}
	return redisconn.CheckBulk(ctx, s.client, "max_record", s.o.MaxRecord)
}

// Native is the client, a redis.UniversalClient.
func (s *Store) Native() any { return s.client }

// Close ends the store. It waits for calls whose callers have left, or until ctx
// ends. It closes the client if [Open] made it.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return nil
	}
	var err error
	if s.owned {
		err = s.client.Close() // which ends what is still under way
	}
	ended := make(chan struct{})
	go func() { // ends with the calls, which the client's timeouts bound
		s.calls.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return err
	case <-ctx.Done():
		return errors.Join(err, fmt.Errorf("calls of the Redis store are still under way: %w", context.Cause(ctx)))
	}
}

// usable is the error of a store that can do nothing.
func (s *Store) usable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usableLocked()
}

func (s *Store) usableLocked() error {
	switch {
	case s.err != nil:
		return fmt.Errorf("options of a Redis store: %w", s.err)
	case s.closed:
		return errors.New("the Redis store is closed")
	}
	return nil
}

// buckets is how many parts the records of a scope have.
const buckets = 64

// tag names a bucket. What would end a hash tag, or a line of a log, is escaped.
func (s *Store) tag(scope string, bucket byte) string {
	return fmt.Sprintf("%saw:{%s/%d}:", s.o.Prefix, escape(scope), bucket)
}

func escape(scope string) string {
	plain := func(c byte) bool { return c > ' ' && c != '{' && c != '}' && c != '%' && c != 0x7f }
	for i := range len(scope) {
		if plain(scope[i]) {
			continue
		}
		var b strings.Builder
		for i := range len(scope) {
			if plain(scope[i]) {
				b.WriteByte(scope[i])
			} else {
				fmt.Fprintf(&b, "%%%02X", scope[i])
			}
		}
		return b.String()
	}
	return scope
}
