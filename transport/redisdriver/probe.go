package redisdriver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The waits between two tries of a start. They grow, since go-redis writes a line to
// the process's stderr for each connection that fails.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = time.Second
)

// probe tries until the server answers, or ctx ends, and finds out whether it is
// one that the driver can work with.
func (d *Driver) probe(ctx context.Context) error {
	var last error
	for wait := firstPause; ; wait = min(2*wait, mostPause) {
		err := d.tryProbe(ctx)
		switch {
		case err == nil:
			return d.checkBulk(ctx)
		case isFinal(err):
			return wrap(err)
		case ctx.Err() == nil || last == nil:
			last = err
		}
		if pause(ctx, wait) {
			continue
		}
		return d.silent(ctx, last)
	}
}

// silent says why a server cannot be reached, which may be that one side speaks
// TLS and the other does not.
func (d *Driver) silent(ctx context.Context, last error) error {
	err := context.Cause(ctx)
	if !errors.Is(last, ctx.Err()) {
		err = fmt.Errorf("%w: %w", err, wrap(last))
	}
	secure := d.o.TLS != (TLS{}) || strings.HasPrefix(d.o.URL, "rediss:")
	switch {
	case secure && errors.Is(last, ctx.Err()):
		return fmt.Errorf("%w (does this port speak TLS?)", err)
	case !secure && (errors.Is(last, io.EOF) || errors.Is(last, syscall.ECONNRESET)):
		return fmt.Errorf("%w (does this port want TLS, as with rediss://?)", err)
	}
	return err
}

// tryProbe asks once.
func (d *Driver) tryProbe(ctx context.Context) error {
	if err := d.client.Ping(ctx).Err(); err != nil {
		return err
	}
	s, err := askServer(ctx, d.client)
	if err != nil {
		if isAnswer(err, "NOPERM") {
			d.log.Info("Redis does not say its version: the user lacks the right to INFO")
			return nil
		}
		return err
	}
	d.server.Store(s)
	if err := s.tooOld(); err != nil {
		return final{err}
	}
	switch {
	case s.mode == "sentinel":
		return final{errors.New("this is a Sentinel: name it in sentinel.addresses")}
	case s.mode == "cluster" && !d.o.Cluster:
		return final{errors.New("this is a node of a Redis Cluster: set cluster: true")}
	case s.role == "slave" && !d.o.Cluster:
		return fmt.Errorf("this is a replica of %s:%s: connect to that, or let sentinels name the master",
			s.fields["master_host"], s.fields["master_port"])
	}
	d.judge(s)
	return nil
}

// judge logs what should be known of a server from the start.
func (d *Driver) judge(s *server) {
	if !s.tested() {
		d.log.Info("the driver is not tested with this version", "server", s.String(), "tested", "Redis "+testedVersion)
	}
	if policy := s.fields["maxmemory_policy"]; strings.HasPrefix(policy, "allkeys-") {
		d.log.Error("this server deletes whole streams, with all messages and groups, when its memory is short",
			"policy", policy, "maxmemory", s.fields["maxmemory"], "fix", "CONFIG SET maxmemory-policy noeviction, and in redis.conf")
	}
}

// askedServer is what the server said of itself; nil where it may not be asked. A
// client that was handed in is asked on first use.
func (d *Driver) askedServer(ctx context.Context) *server {
	if s := d.server.Load(); s != nil {
		return s
	}
	s, err := askServer(ctx, d.client)
	if err != nil {
		return nil
	}
	if d.server.CompareAndSwap(nil, s) {
		d.judge(s)
	}
	return s
}

// checkBulk compares max_body with what the server takes, where it may be asked.
// Whoever may not ask finds out with the first message that is too large.
func (d *Driver) checkBulk(ctx context.Context) error {
	const key = "proto-max-bulk-len"
	limit, err := strconv.ParseInt(d.client.ConfigGet(ctx, key).Val()[key], 10, 64)
	if err == nil && limit < int64(d.o.MaxBody) {
		return fmt.Errorf("%s of the server is %d bytes, max_body %v: set max_body to %d or less", key, limit, d.o.MaxBody, limit)
	}
	return nil
}

// final is an error that waiting does not cure.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// place names the server for people, without a password.
func (o Options) place() string {
	if o.Sentinel.given() {
		return fmt.Sprintf("master %q of the sentinels %s", o.Sentinel.Master, strings.Join(o.Sentinel.Addresses, ", "))
	}
	return redact(o.URL)
}
