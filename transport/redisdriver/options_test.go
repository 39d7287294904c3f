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
