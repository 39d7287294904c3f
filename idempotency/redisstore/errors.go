package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Rights are the commands that the scripts use, for ACL SETUSER.
const Rights = "+evalsha +eval +get +set +getrange +setrange +append +strlen +pexpire +pttl +unlink"

// ended is why ctx did; it wraps ctx.Err() in any case.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// explain says what to do about an answer of the server that does not.
func explain(err error) error {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return err
	}
	for _, h := range hints() {
		if strings.HasPrefix(answer.Error(), h.prefix) {
			return fmt.Errorf("%w: %s", err, h.text)
		}
	}
	return err
}

// hint is the way out of a refusal, by its first words.
type hint struct{ prefix, text string }

func hints() []hint {
	rights := "grant it with ACL SETUSER: " + Rights + ", on the keys aw:*, behind the prefix where there is one"
	return []hint{
		{"NOPERM", rights},
		{"ERR The user executing the script", rights},
		{"ACL failure in script", rights},
		{"NOAUTH", "set user and password"},
		{"WRONGPASS", "check user and password"},
		{"ERR AUTH", "check user and password"},
		{"ERR invalid password", "check password"},
		{"OOM", "the server's maxmemory is reached: raise it, or keep records for less long with a shorter ttl"},
		{"READONLY", "this server is a replica, and records are written: connect to the master, or let sentinels name it"},
		{"MISCONF", "the server cannot write to its disk and therefore keeps no records"},
		{"NOREPLICAS", "fewer replicas are connected than min-replicas-to-write asks for"},
		{"LOADING", "the server reads its data from disk: wait"},
		{"BUSY", "a script of somebody else holds the server up: find it, and end it with SCRIPT KILL"},
		{"MASTERDOWN", "this is a replica whose master is away: connect to the master, or let sentinels name it"},
		{"MOVED", "this is a node of a Redis Cluster: use a client for one (cluster: true)"},
		{"CLUSTERDOWN", "a part of the cluster has no master"},
		{"CROSSSLOT", "this is a part of a cluster: from now on each bucket of records has a script of its own"},
	}
}
