package natsdriver

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	secret := value.NewSecret("hidden")
	missing := filepath.Join(t.TempDir(), "missing")
	noPEM := filepath.Join(t.TempDir(), "no.pem")
	if err := os.WriteFile(noPEM, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]Options{
		`storage "disk"`:           {Storage: "disk"},
		"replicas 9":               {Replicas: 9},
		"max_pending 100000":       {MaxPending: 100000},
		"max_body 10:":             {MaxBody: 10},
		"cert and key go together": {TLS: TLS{Cert: "c.pem"}},
		`url begins with "redis:`:  {URL: "nats://a:4222,redis://b:6379"},
		"user and token are given": {User: "u", Token: secret},
		"a password needs a user":  {Password: secret},
		missing:                    {Creds: missing},
		"nkey":                     {NKey: missing},
		"tls.ca":                   {TLS: TLS{CA: noPEM}},
	} {
		_, err := Open(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("error %v, want one that says %q, without secrets", err, want)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	start := time.Now()
	_, err = Open(t.Context(), Options{URL: "nats://user:secret@" + address, ConnectTimeout: value.Duration(300 * time.Millisecond)})
	if err == nil || !strings.Contains(err.Error(), address) || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v, want one that names %s, without the password", err, address)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestServerWithoutJetStream(t *testing.T) {
	t.Parallel()
	server := brokertest.NATS(t, `accounts { plain { users: [ { user: plain, password: p } ] } }`)
	_, err := Open(t.Context(), Options{URL: server.URL, User: "plain", Password: value.NewSecret("p")})
	if err == nil || !strings.Contains(err.Error(), "-js") {
		t.Errorf("error %v, want one that says how to start the server", err)
	}
	start := time.Now()
	_, err = Open(t.Context(), Options{URL: server.URL, User: "plain", Password: value.NewSecret("wrong")})
	if !errors.Is(err, driver.ErrDenied) || time.Since(start) > 4*time.Second {
		t.Errorf("wrong password: %v after %v, want ErrDenied at once", err, time.Since(start))
	}
}

func TestMaxPayloadOfTheServer(t *testing.T) {
	t.Parallel()
	server := brokertest.NATS(t, `max_payload: 65536`)
	_, err := Open(t.Context(), Options{URL: server.URL})
	if err == nil || !strings.Contains(err.Error(), "65536") || !strings.Contains(err.Error(), "max_body") {
		t.Errorf("error %v, want one that names the server's limit and our setting", err)
	}
}

// TestConnectionOfTheUser stays open.
func TestConnectionOfTheUser(t *testing.T) {
	t.Parallel()
	nc, err := nats.Connect(brokertest.SharedNATS(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	d := New(nc, nil)
	name := unique(t)
	publish(t, d, name, "1")
	src := subscribe(t, d, sub(name))
	settle(t, src, driver.Ack, take(t, src, 1)...)
	closeSource(t, src)
	for range 2 {
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Errorf("the user's connection after Close: %v", err)
	}
	if got := d.Native(); got != any(nc) {
		t.Errorf("Native is %v, want the connection", got)
	}
	if err := New(nc, &Options{Replicas: 9}).Publish(t.Context(), name, texts("1")); err == nil {
		t.Error("wrong options are no error of Publish")
	}
}

func TestKind(t *testing.T) {
	t.Parallel()
	k := Kind()
	if _, isOptions := k.NewOptions().(*Options); !isOptions || k.KindName() != "nats" {
		t.Errorf("kind %q has options %T", k.KindName(), k.NewOptions())
	}
	caps, err := k.Capabilities(nil)
	if err != nil || !caps.Durable || caps.MaxBody != int(DefaultMaxBody) {
		t.Errorf("capabilities are %+v, %v", caps, err)
	}
	d, err := k.Open(t.Context(), &Options{URL: brokertest.SharedNATS(t).URL})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close(t.Context()) }()
	if got := d.Capabilities(); got != caps {
		t.Errorf("the open driver has %+v, its kind declared %+v", got, caps)
	}
}

func TestTheKindChecksOptionsWithoutConnecting(t *testing.T) {
	t.Parallel()
	if _, err := Kind().Capabilities(Options{}); err != nil {
		t.Errorf("defaults: %v", err)
	}
	if _, err := Kind().Capabilities(Options{Storage: "tape"}); err == nil || !strings.Contains(err.Error(), "tape") {
		t.Errorf("storage: %v", err)
	}
}
