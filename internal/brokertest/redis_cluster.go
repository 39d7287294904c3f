package brokertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

const (
	clusterNodes = 3
	clusterSlots = 16384
	// SentinelMaster is the name under which [RedisSentinel] watches its master.
	SentinelMaster = "anywire"
)

// RedisCluster starts a Redis Cluster of three masters without replicas, all on
// this machine, and ends it with the test. Lines of config go to every node.
func RedisCluster(tb testing.TB, config ...string) []*Server {
	tb.Helper()
	nodes := make([]*Server, clusterNodes)
	for i := range nodes {
		nodes[i] = own(tb, redisKind{bus: true}, config)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), readyTimeout)
	defer cancel()
	if err := formCluster(ctx, nodes); err != nil {
		tb.Fatalf("brokertest: redis cluster: %v", err)
	}
	return nodes
}

// formCluster gives each node its share of the slots, introduces the nodes to
// each other and waits until all of them serve.
func formCluster(ctx context.Context, nodes []*Server) error {
	for i, node := range nodes {
		first, last := i*clusterSlots/len(nodes), (i+1)*clusterSlots/len(nodes)-1
		if _, err := node.redis(ctx, "CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(first), fmt.Sprint(last)); err != nil {
			return err
		}
		if _, err := node.redis(ctx, "CLUSTER", "SET-CONFIG-EPOCH", fmt.Sprint(i+1)); err != nil {
			return err
		}
	}
	for _, node := range nodes[1:] {
		host, port, err := net.SplitHostPort(node.Addrs[0])
		if err != nil {
			return fmt.Errorf("address of a node: %w", err)
		}
		if _, err := nodes[0].redis(ctx, "CLUSTER", "MEET", host, port, fmt.Sprint(node.ports[1].number)); err != nil {
			return err
		}
	}
	for _, node := range nodes {
		if err := node.awaitCluster(ctx, len(nodes)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) awaitCluster(ctx context.Context, size int) error {
	tick := time.NewTicker(probePause)
	defer tick.Stop()
	for {
		info, err := s.redis(ctx, "CLUSTER", "INFO")
		if err != nil {
			return err
		}
		if redisField(info, "cluster_state") == "ok" && redisField(info, "cluster_known_nodes") == fmt.Sprint(size) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the node at %s does not see the cluster whole: %w; it says:\n%s", s.URL, ctx.Err(), info)
		case <-tick.C:
		}
	}
}

// redis has the server do one command.
func (s *Server) redis(ctx context.Context, args ...string) (string, error) {
	conn, err := dialRedis(ctx, s.URL, s.Addrs[0])
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	answer, err := conn.do(args...)
	if isRedisError(err, "NOAUTH") {
		if _, authErr := conn.do("AUTH", probeUser, probeUser); authErr != nil {
			return "", errors.Join(err, authErr)
		}
		answer, err = conn.do(args...)
	}
	if err != nil {
		return "", fmt.Errorf("%s at %s: %w", strings.Join(args, " "), s.URL, err)
	}
	return answer, nil
}

// RedisSentinel starts a Redis master, a replica of it and a Sentinel that
// watches the master as [SentinelMaster] and replaces it a second after it
// died, and ends them with the test.
func RedisSentinel(tb testing.TB) (sentinel, master, replica *Server) {
	tb.Helper()
	master = own(tb, redisKind{}, nil)
	host, port, err := net.SplitHostPort(master.Addrs[0])
	if err != nil {
		tb.Fatalf("brokertest: address of the master: %v", err)
	}
	replica = own(tb, redisKind{}, []string{"replicaof " + host + " " + port})
	sentinel = own(tb, redisKind{sentinel: true}, []string{
		fmt.Sprintf("sentinel monitor %s %s %s 1", SentinelMaster, host, port),
		"sentinel down-after-milliseconds " + SentinelMaster + " 1000",
		"sentinel failover-timeout " + SentinelMaster + " 5000",
	})
	ctx, cancel := context.WithTimeout(tb.Context(), readyTimeout)
	defer cancel()
	if err := awaitReplica(ctx, sentinel); err != nil {
		tb.Fatalf("brokertest: redis sentinel: %v", err)
	}
	return sentinel, master, replica
}

// awaitReplica waits until the Sentinel knows whom it could promote.
func awaitReplica(ctx context.Context, sentinel *Server) error {
	tick := time.NewTicker(probePause)
	defer tick.Stop()
	for {
		info, err := sentinel.redis(ctx, "INFO", "sentinel")
		if err != nil {
			return err
		}
		if strings.Contains(info, "status=ok") && strings.Contains(info, "slaves=1") {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not see the replica: %w; it says:\n%s", ctx.Err(), info)
		case <-tick.C:
		}
	}
}

// sentinelConfig is rewritten by the Sentinel itself.
func sentinelConfig(dir string, port int, extra []string) string {
	return fmt.Sprintf(`bind 127.0.0.1
port %d
dir %q
daemonize no
protected-mode no
%s
`, port, dir, strings.Join(extra, "\n"))
}
