package redisdriver

import (
	"context"
	"strings"

	"github.com/anywire/anywire/internal/redisconn"
)

// probe tries until the server answers, or ctx ends, and finds out whether it is
// one that the driver can work with.
func (d *Driver) probe(ctx context.Context) error {
	s, err := d.o.connection().Await(ctx, d.client, wrap)
	if err != nil {
		return err
	}
	if s == nil {
		d.log.Info("Redis does not say its version: the user lacks the right to INFO")
	} else {
		d.server.Store(s)
		d.judge(s)
	}
	return redisconn.CheckBulk(ctx, d.client, "max_body", d.o.MaxBody)
}

// judge logs what should be known of a server from the start.
func (d *Driver) judge(s *server) {
	if !s.Tested() {
		d.log.Info("the driver is not tested with this version", "server", s.String(), "tested", "Redis "+redisconn.TestedVersion)
	}
	if policy := s.Fields["maxmemory_policy"]; strings.HasPrefix(policy, "allkeys-") {
		d.log.Error("this server deletes whole streams, with all messages and groups, when its memory is short",
			"policy", policy, "maxmemory", s.Fields["maxmemory"], "fix", "CONFIG SET maxmemory-policy noeviction, and in redis.conf")
	}
}

// askedServer is what the server said of itself; nil where it may not be asked. A
// client that was handed in is asked on first use.
func (d *Driver) askedServer(ctx context.Context) *server {
	if s := d.server.Load(); s != nil {
		return s
	}
	s, err := redisconn.AskServer(ctx, d.client)
	if err != nil {
		return nil
	}
	if d.server.CompareAndSwap(nil, s) {
		d.judge(s)
	}
	return s
}
