package redisdriver

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/config/value"
)

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	if err := (Options{}).Validate(); err != nil {
		t.Error(err)
	}
	o := Options{}.withDefaults()
	if o.URL != DefaultURL || o.ConnectTimeout.Std() != DefaultConnectTimeout || o.PublishTimeout.Std() != DefaultPublishTimeout ||
		o.GroupExpiry.Std() != DefaultGroupExpiry || o.MaxPending != DefaultMaxPending || o.MaxBody != DefaultMaxBody {
		t.Errorf("%+v", o)
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	err := Options{
		URL: "http://me:hidden@host", User: "me", Attributes: "xml", MaxPending: -1, MaxBody: 10, Cluster: true,
		ConnectTimeout: value.Duration(time.Minute), PublishTimeout: -1, GroupExpiry: -1,
		TLS: TLS{Cert: "cert.pem"}, Sentinel: Sentinel{Addresses: []string{"host"}},
	}.Validate()
	wantError(t, err, `"http://***@host"`, `user "me"`, `attributes "xml"`, "max_pending -1", "max_body 10:", "connect_timeout 1m",
		"publish_timeout -1ns", "group_expiry", "cert and key", "no sentinels", "master is missing", `address "host"`)
	if err != nil && strings.Contains(err.Error(), "hidden") {
		t.Errorf("the error shows a password: %v", err)
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	secret := value.NewSecret("p2")
	for _, c := range []struct {
		o    Options
		want target
		tls  bool
	}{
		{Options{}, target{network: "tcp", addresses: []string{"localhost:6379"}}, false},
		{Options{URL: "redis://host"}, target{network: "tcp", addresses: []string{"host:6379"}}, false},
		{Options{URL: "redis://u:p@host:1/2"}, target{network: "tcp", addresses: []string{"host:1"}, user: "u", password: "p", db: 2}, false},
		{Options{URL: "redis://u:p@host", User: "u2", Password: secret}, target{network: "tcp", addresses: []string{"host:6379"}, user: "u2", password: "p2"}, false},
		{Options{URL: "redis://:p@host", Password: secret}, target{network: "tcp", addresses: []string{"host:6379"}, password: "p2"}, false},
		{Options{URL: "rediss://host"}, target{network: "tcp", addresses: []string{"host:6379"}}, true},
		{Options{URL: "redis://host", TLS: TLS{ServerName: "x"}}, target{network: "tcp", addresses: []string{"host:6379"}}, true},
		{Options{URL: "redis://u:p@a,b:1,[::1]:2", Cluster: true}, target{network: "tcp", addresses: []string{"a:6379", "b:1", "[::1]:2"}, user: "u", password: "p"}, false},
		{Options{URL: "unix:///run/redis.sock"}, target{network: "unix", addresses: []string{"/run/redis.sock"}}, false},
	} {
		got, err := c.o.withDefaults().target()
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

func TestURLsThatAreRefused(t *testing.T) {
	t.Parallel()
	for url, reason := range map[string]string{
		"localhost:6379":               "use redis://",
		"http://host":                  "use redis://",
		"redis://host/x":               "database",
		"redis://host?pool_size=1":     "parameters after ?",
		"redis://a,b":                  "cluster: true",
		"redis://me:hidden@host:port":  "port",
		"redis://me:hid%zzden@host":    "host",
		"rediss://me:hidden@host/1/2x": "path",
	} {
		err := Options{URL: url}.Validate()
		wantError(t, err, reason)
		if err != nil && strings.Contains(err.Error(), "hid") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
	wantError(t, Options{URL: "redis://a/1", Cluster: true}.Validate(), "database 1")
	wantError(t, Options{TLS: TLS{CA: "/missing.pem"}}.Validate(), "tls.ca")
}

func TestKindDeclaresWhatDriversHave(t *testing.T) {
	t.Parallel()
	declared, err := Kind().Capabilities(Options{MaxBody: 2 * value.MiB})
	if err != nil || declared.MaxBody != 2<<20 || !declared.OrderedPublish || declared.Headers.Prefix != "ce_" ||
		declared.Headers.ContentType != "content-type" {
		t.Errorf("%+v, %v", declared, err)
	}
	if _, err := Kind().Capabilities(Options{MaxPending: -1}); err == nil {
		t.Error("wrong options are taken")
	}
	if name := Kind().KindName(); name != "redis" {
		t.Errorf("kind %q", name)
	}
}

func TestLoggerThatIsSetStays(t *testing.T) {
	t.Parallel()
	one, other := slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil)), slog.New(slog.DiscardHandler)
	o := Options{}
	o.SetLogger(one)
	o.SetLogger(other)
	if o.Logger != one {
		t.Error("SetLogger replaced a logger")
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
		s := parseInfo(c.info)
		if s.String() != c.want || (s.tooOld() != nil) != c.old || s.tested() != c.tested || s.lacksLag() != c.lacks {
			t.Errorf("%q: %v, too old %v, tested %v, lacks lag %v", c.info, s, s.tooOld(), s.tested(), s.lacksLag())
		}
	}
	var none *server
	if none.String() == "" || none.tooOld() != nil || none.lacksLag() {
		t.Error("a server that may not be asked")
	}
}
