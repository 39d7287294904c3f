package redisconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/config/value"
)

// The waits between two tries of a start. They grow, since go-redis writes a line to
// the process's stderr for each connection that fails.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = time.Second
)

// Await tries until the server of client answers, or ctx ends, and says what it
// is; nil for one that may not be asked. What waiting does not cure is returned at
// once. explain adds to errors what the caller knows of them.
func (c Config) Await(ctx context.Context, client redis.UniversalClient, explain func(error) error) (*Server, error) {
	var last error
	for wait := firstPause; ; wait = min(2*wait, mostPause) {
		s, err := c.try(ctx, client)
		switch {
		case err == nil:
			return s, nil
		case IsFinal(err):
			return nil, explain(err)
		case ctx.Err() == nil || last == nil:
			last = err
		}
		if !pause(ctx, wait) {
			return nil, c.silent(ctx, last, explain)
		}
	}
}

// pause is false if ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// silent says why a server cannot be reached, which may be that one side speaks
// TLS and the other does not.
func (c Config) silent(ctx context.Context, last error, explain func(error) error) error {
	err := context.Cause(ctx)
	if !errors.Is(last, ctx.Err()) {
		err = fmt.Errorf("%w: %w", err, explain(last))
	}
	secure := c.TLS != (TLS{}) || strings.HasPrefix(c.URL, "rediss:")
	switch {
	case secure && errors.Is(last, ctx.Err()):
		return fmt.Errorf("%w (does this port speak TLS?)", err)
	case !secure && (errors.Is(last, io.EOF) || errors.Is(last, syscall.ECONNRESET)):
		return fmt.Errorf("%w (does this port want TLS, as with rediss://?)", err)
	}
	return err
}

// try asks once.
func (c Config) try(ctx context.Context, client redis.UniversalClient) (*Server, error) {
	if err := client.Ping(ctx).Err(); err != nil {
		return nil, err
	}
	s, err := AskServer(ctx, client)
	if err != nil {
		if IsAnswer(err, "NOPERM") {
			return nil, nil
		}
		return nil, err
	}
	if err := s.TooOld(); err != nil {
		return nil, finalError{err}
	}
	switch {
	case s.Mode == "sentinel":
		return nil, finalError{errors.New("this is a Sentinel: name it in sentinel.addresses")}
	case s.Mode == "cluster" && !c.Cluster:
		return nil, finalError{errors.New("this is a node of a Redis Cluster: set cluster: true")}
	case s.Role == "slave" && !c.Cluster:
		return nil, fmt.Errorf("this is a replica of %s:%s: connect to that, or let sentinels name the master",
			s.Fields["master_host"], s.Fields["master_port"])
	}
	return s, nil
}

// CheckBulk compares the size of an option with what the server takes, where it
// may be asked. Whoever may not ask finds out with the first command that is too
// large.
func CheckBulk(ctx context.Context, client redis.UniversalClient, option string, size value.Size) error {
	const key = "proto-max-bulk-len"
	limit, err := strconv.ParseInt(client.ConfigGet(ctx, key).Val()[key], 10, 64)
	if err == nil && limit < int64(size) {
		return fmt.Errorf("%s of the server is %d bytes, %s %v: set %[3]s to %[2]d or less", key, limit, option, size)
	}
	return nil
}

// Place names the server for people, without a password.
func (c Config) Place() string {
	if c.Sentinel.given() {
		return fmt.Sprintf("master %q of the sentinels %s", c.Sentinel.Master, strings.Join(c.Sentinel.Addresses, ", "))
	}
	return Redact(c.URL)
}
