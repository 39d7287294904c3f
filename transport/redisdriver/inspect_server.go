package redisdriver

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/redisconn"
	"github.com/anywire/anywire/transport/driver"
)

// Parts of maxmemory from which an inspection speaks up.
const (
	nearlyFull = 0.8
	almostFull = 0.95
)

// nodeInspection is what is known of one server.
type nodeInspection struct {
	*inspection

	subject string
	info    *server           // nil: not readable
	config  map[string]string // nil: not readable
}

// readConfig asks for the settings that INFO does not have.
func (n *nodeInspection) readConfig(ctx context.Context, client redis.UniversalClient) error {
	config := map[string]string{}
	for _, key := range []string{"appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy", "min-replicas-to-write"} {
		found, err := client.ConfigGet(ctx, key).Result()
		if redisconn.IsAnswer(err, "NOPERM") || redisconn.IsAnswer(err, "ERR unknown") {
			return nil
		}
		if err != nil {
			return fmt.Errorf("CONFIG GET %s: %w", key, err)
		}
		config[key] = found[key]
	}
	n.config = config
	return nil
}

// unreadable notes what only CONFIG would tell.
func (n *nodeInspection) unreadable(check string) {
	n.note(driver.Unknown, check, n.subject, "not readable", "the user may not call CONFIG GET, as on most hosted servers",
		"look with another user, or in the host's console: redis-cli CONFIG GET "+check)
}

func (n *nodeInspection) version() {
	if n.info == nil {
		return // that has been said
	}
	switch {
	case n.info.TooOld() != nil:
		n.note(driver.Danger, "version", n.subject, n.info.String(), "it has no XAUTOCLAIM: messages of a dead worker cannot be taken over",
			fmt.Sprintf("upgrade to %s or later", redisconn.TestedVersion))
	case !n.info.Tested():
		n.note(driver.Warning, "version", n.subject, n.info.String(), "the driver's tests run against Redis "+redisconn.TestedVersion+" only",
			"try your system against it before you rely on it")
	default:
		n.good("version", n.subject, n.info.String())
	}
}

func (n *nodeInspection) role() {
	if n.info == nil {
		return
	}
	replicas := number(n.info.Fields["connected_slaves"])
	switch {
	case n.info.Role == "slave":
		n.note(driver.Danger, "role", n.subject, "a replica", "it takes no messages", "connect to its master, or let sentinels name it")
		return
	case replicas == 0:
		n.good("role", n.subject, "the master, without replicas")
		return
	}
	n.good("role", n.subject, fmt.Sprintf("the master of %d replicas", replicas))
	switch {
	case n.config == nil:
		n.unreadable("min-replicas-to-write")
	case number(n.config["min-replicas-to-write"]) == 0:
		n.note(driver.Warning, "min-replicas-to-write", n.subject, "0",
			"replicas follow later: when one replaces the master, messages that were confirmed last are lost; "+
				"and a master that is cut off goes on confirming what will be thrown away",
			"CONFIG SET min-replicas-to-write 1 (and in redis.conf) bounds that to min-replicas-max-lag")
	default:
		n.good("min-replicas-to-write", n.subject, n.config["min-replicas-to-write"])
	}
}

// durability says what a crash costs.
func (n *nodeInspection) durability() {
	appends, known := "", true
	switch {
	case n.config != nil:
		appends = n.config["appendonly"]
	case n.info != nil && n.info.Fields["aof_enabled"] != "":
		appends = map[string]string{"0": "no", "1": "yes"}[n.info.Fields["aof_enabled"]]
	default:
		known = false
	}
	const fix = "CONFIG SET appendonly yes, and in redis.conf"
	switch {
	case !known:
		n.unreadable("appendonly")
		return
	case appends == "yes":
		n.good("appendonly", n.subject, "yes")
	case n.config == nil || n.config["save"] != "":
		n.note(driver.Danger, "appendonly", n.subject, "no, snapshots at most",
			"a crash loses every message since the last snapshot, confirmed or not, and brings back what was settled since", fix)
		return
	default:
		n.note(driver.Danger, "appendonly", n.subject, "no, and no snapshots", "a restart of the server loses every message", fix)
		return
	}
	switch {
	case n.config == nil:
		n.unreadable("appendfsync")
	case n.config["appendfsync"] == "always":
		n.good("appendfsync", n.subject, "always")
	case n.config["appendfsync"] == "everysec":
		n.note(driver.Warning, "appendfsync", n.subject, "everysec",
			"a crash of the machine (not of the process) loses up to the last second, though it was confirmed",
			"CONFIG SET appendfsync always, where that is too much to lose: every write then waits for the disk")
	default:
		n.note(driver.Danger, "appendfsync", n.subject, n.config["appendfsync"],
			"a crash of the machine loses what the system had not written, often half a minute",
			"CONFIG SET appendfsync everysec, or always")
	}
}

// writable says whether the server can write at the moment.
func (n *nodeInspection) writable() {
	if n.info == nil {
		return
	}
	for _, field := range []string{"aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"} {
		if status := n.info.Fields[field]; status != "" && status != "ok" {
			n.note(driver.Danger, field, n.subject, status, "the server cannot write its files: soon it takes no more messages (MISCONF)",
				"look into the server's log, and whether its disk is full")
		}
	}
}

func (n *nodeInspection) eviction() {
	policy, most := n.setting("maxmemory-policy", "maxmemory_policy"), n.setting("maxmemory", "maxmemory")
	const check, fix = "maxmemory-policy", "CONFIG SET maxmemory-policy noeviction, and in redis.conf; keep caches on another server"
	switch {
	case policy == "":
		n.unreadable(check)
	case policy == "noeviction":
		n.good(check, n.subject, policy)
	case strings.HasPrefix(policy, "allkeys-") && number(most) > 0:
		n.note(driver.Danger, check, n.subject, policy,
			"when memory is short the server deletes whole streams, with all messages and groups", fix)
	case strings.HasPrefix(policy, "allkeys-"):
		n.note(driver.Warning, check, n.subject, policy+", with no maxmemory",
			"as soon as somebody sets maxmemory, the server deletes whole streams when memory is short", fix)
	default:
		n.note(driver.Warning, check, n.subject, policy,
			"when memory is short the server deletes keys that expire, which leases of shards are", fix)
	}
}

func (n *nodeInspection) setting(key, field string) string {
	if n.config != nil {
		return n.config[key]
	}
	if n.info != nil {
		return n.info.Fields[field]
	}
	return ""
}

func (n *nodeInspection) headroom() {
	if n.info == nil {
		return
	}
	const check = "maxmemory"
	used, most := number(n.info.Fields["used_memory"]), number(n.info.Fields["maxmemory"])
	if most == 0 {
		n.good(check, n.subject, "no bound, "+size(used)+" used")
		return
	}
	found := fmt.Sprintf("%s of %s used", size(used), size(most))
	const why, fix = "when it is full, publishing fails (OOM)", "raise maxmemory, or shorten the retention of topics"
	switch part := float64(used) / float64(most); {
	case part >= almostFull:
		n.note(driver.Danger, check, n.subject, found, why, fix)
	case part >= nearlyFull:
		n.note(driver.Warning, check, n.subject, found, why, fix)
	default:
		n.good(check, n.subject, found)
	}
}

// size is a number of bytes, rounded for people.
func size(n int64) string {
	for _, unit := range []value.Size{value.GiB, value.MiB, value.KiB} {
		if n >= int64(unit) {
			return fmt.Sprintf("%.1f%s", float64(n)/float64(unit), strings.TrimLeft(unit.String(), "1"))
		}
	}
	return fmt.Sprintf("%dB", n)
}
