package redisconn

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/anywire/anywire/config/value"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestURLs(t *testing.T) {
	t.Parallel()
	secret := value.NewSecret("p2")
	for _, c := range []struct {
		o    Config
		want target
		tls  bool
	}{
		{Config{URL: "redis://localhost:6379/0"}, target{network: "tcp", addresses: []string{"localhost:6379"}}, false},
		{Config{URL: "redis://host"}, target{network: "tcp", addresses: []string{"host:6379"}}, false},
		{Config{URL: "redis://u:p@host:1/2"}, target{network: "tcp", addresses: []string{"host:1"}, user: "u", password: "p", db: 2}, false},
		{Config{URL: "redis://u:p@host", User: "u2", Password: secret}, target{network: "tcp", addresses: []string{"host:6379"}, user: "u2", password: "p2"}, false},
		{Config{URL: "redis://:p@host", Password: secret}, target{network: "tcp", addresses: []string{"host:6379"}, password: "p2"}, false},
		{Config{URL: "rediss://host"}, target{network: "tcp", addresses: []string{"host:6379"}}, true},
		{Config{URL: "redis://host", TLS: TLS{ServerName: "x"}}, target{network: "tcp", addresses: []string{"host:6379"}}, true},
		{Config{URL: "redis://u:p@a,b:1,[::1]:2", Cluster: true}, target{network: "tcp", addresses: []string{"a:6379", "b:1", "[::1]:2"}, user: "u", password: "p"}, false},
		{Config{URL: "unix:///run/redis.sock"}, target{network: "unix", addresses: []string{"/run/redis.sock"}}, false},
	} {
		got, err := c.o.target()
		if err != nil {
			t.Errorf("%q: %v", c.o.URL, err)
			continue
		}
		if (got.tls != nil) != c.tls || got.network != c.want.network || strings.Join(got.addresses, " ") != strings.Join(c.want.addresses, " ") ||
			got.user != c.want.user || got.password != c.want.password || got.db != c.want.db {
			t.Errorf("%q: %+v, want %+v", c.o.URL, got, c.want)
		}
		if err := c.o.Validate(); err != nil {
			t.Errorf("%q: %v", c.o.URL, err)
		}
	}
}

func TestServerVersions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		info   string
		want   string
		old    bool
		tested bool
		lacks  bool
	}{
		{"redis_version:7.0.15\r\nredis_mode:standalone\r\n", "Redis 7.0.15", false, true, false},
		{"redis_version:6.2.0\r\n", "Redis 6.2.0", false, false, true},
		{"redis_version:6.0.16\r\n", "Redis 6.0.16", true, false, true},
		{"redis_version:8.2.1\r\n", "Redis 8.2.1", false, false, false},
		{"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\n", "Valkey 8.1.0", false, false, false},
		{"redis_version:7.4.0\r\ndragonfly_version:df-v1.30.0\r\n", "Dragonfly 1.30.0", false, false, false},
		{"", "Redis of unknown version", false, false, false},
	} {
		s := ParseInfo(c.info)
		if s.String() != c.want || (s.TooOld() != nil) != c.old || s.Tested() != c.tested || s.LacksLag() != c.lacks {
			t.Errorf("%q: %v, too old %v, tested %v, lacks lag %v", c.info, s, s.TooOld(), s.Tested(), s.LacksLag())
		}
	}
	var none *Server
	if none.String() == "" || none.TooOld() != nil || none.LacksLag() {
		t.Error("a server that may not be asked")
	}
}
