package brokertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRedisKeepsDataOverKill(t *testing.T) {
	t.Parallel()
	server := Redis(t, "maxclients 100")
	if _, err := server.redis(t.Context(), "SET", "key", "kept"); err != nil {
		t.Fatal(err)
	}
	url := server.URL

	server.Kill(t)
	if _, err := server.probe(t.Context()); err == nil {
		t.Fatal("a killed server answers")
	}
	server.Start(t)

	value, err := server.redis(t.Context(), "GET", "key")
	if err != nil || value != "kept" || server.URL != url {
		t.Errorf("after the restart %s has %q, %v; want the value at %s", server.URL, value, err, url)
	}
	server.Pause(t)
	server.Stop(t) // also ends a paused one
	if _, err := server.probe(t.Context()); err == nil {
		t.Error("a stopped server answers")
	}
}

func TestSharedRedisIsOne(t *testing.T) {
	t.Parallel()
	first, second := SharedRedis(t), SharedRedis(t)
	if first != second {
		t.Error("two shared servers")
	}
	if !strings.HasPrefix(first.String(), "redis ") || !strings.Contains(first.Version, ".") {
		t.Errorf("the server is called %q", first)
	}
}

func TestRedisWithUsersOfTheTest(t *testing.T) {
	t.Parallel()
	server := Redis(t, "user default off", "user app on >secret ~* &* +@all")
	conn, err := dialRedis(t.Context(), server.URL, server.Addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.do("GET", "key"); !isRedisError(err, "NOAUTH") {
		t.Errorf("without a user: %v, want NOAUTH", err)
	}
	if _, err := conn.do("AUTH", "app", "secret"); err != nil {
		t.Error(err)
	}
	withUser := "redis://app:secret@" + server.Addrs[0] + "/0"
	if s, err := attach(t.Context(), redisKind{}, withUser); err != nil || !slices.Equal(s.Addrs, server.Addrs) {
		t.Errorf("attached to %v, %v; want %v", s, err, server.Addrs)
	}
}

func TestRedisCluster(t *testing.T) {
	t.Parallel()
	nodes := RedisCluster(t)
	served := 0
	for _, node := range nodes { // the key belongs to one of them
		_, err := node.redis(t.Context(), "SET", "key", "value")
		switch {
		case err == nil:
			served++
		case !isRedisError(err, "MOVED"):
			t.Error(err)
		}
	}
	if served != 1 {
		t.Errorf("%d nodes of %d took the key, want one", served, len(nodes))
	}
}

func TestRedisSentinelReplacesTheMaster(t *testing.T) {
	t.Parallel()
	sentinel, master, replica := RedisSentinel(t)
	master.Kill(t)
	eventually(t, time.Minute, "the replica is no master", func() bool {
		info, err := replica.redis(t.Context(), "INFO", "replication")
		return err == nil && redisField(info, "role") == "master"
	})
	eventually(t, time.Minute, "the Sentinel does not tell the new master", func() bool {
		info, err := sentinel.redis(t.Context(), "INFO", "sentinel")
		return err == nil && strings.Contains(info, "address="+replica.Addrs[0])
	})
}

// TestRedisIsUnpacked needs the network, and only says something more where
// other tests run the redis-server of the machine.
func TestRedisIsUnpacked(t *testing.T) {
	t.Parallel()
	if os.Getenv("ANYWIRE_TEST_FULL") == "" {
		t.Skip("only with ANYWIRE_TEST_FULL=1: loads Debian packages")
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("no Debian package manager here")
	}
	root := filepath.Join(t.TempDir(), "redis")
	if err := unpackRedis(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	program, env := unpackedRedis(root)
	version, err := run(t.Context(), "", "env", append(env, program, "--version")...)
	if err != nil || !strings.Contains(version, "Redis server v=") {
		t.Errorf("it says %q, %v", version, err)
	}
}

func TestDependsOf(t *testing.T) {
	t.Parallel()
	depends := `redis-tools
  Depends: adduser
  Depends: libatomic1
  Depends: libc6
 |Depends: libsystemd0
  Depends: libelogind0
  Depends: lua-cjson
  Breaks: <libold>
  Suggests: libruby
`
	if got, want := dependsOf(depends, "lib", "lua-"), []string{"libatomic1", "libsystemd0", "lua-cjson"}; !slices.Equal(got, want) {
		t.Errorf("libraries %q, want %q", got, want)
	}
}

func TestHostPort(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"127.0.0.1:1":                     "127.0.0.1:1",
		"nats://host:2":                   "host:2",
		"redis://user:p@ss@host:3/0?db=1": "host:3",
	} {
		if got := hostPort(address); got != want {
			t.Errorf("%q is at %q, want %q", address, got, want)
		}
	}
}
