package redisdriver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/internal/faultproxy"
	"github.com/anywire/anywire/transport/driver"
)

// authority signs certificates for tests.
type authority struct {
	dir, file string
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
}

func newAuthority(tb testing.TB, name string) *authority {
	tb.Helper()
	a := &authority{dir: tb.TempDir()}
	var der []byte
	a.key, der = issue(tb, nil, nil, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotAfter: time.Now().Add(time.Hour),
	})
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	a.file = filepath.Join(a.dir, "ca.pem")
	writePEM(tb, a.file, "CERTIFICATE", der)
	return a
}

// issue makes a key and its certificate, which signs itself without a parent.
func issue(tb testing.TB, parent *x509.Certificate, by *ecdsa.PrivateKey, cert *x509.Certificate) (*ecdsa.PrivateKey, []byte) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	if parent == nil {
		parent, by = cert, key
	}
	cert.SerialNumber = big.NewInt(time.Now().UnixNano())
	cert.NotBefore = time.Now().Add(-2 * time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, by)
	if err != nil {
		tb.Fatal(err)
	}
	return key, der
}

// sign writes a certificate and its key to files.
func (a *authority) sign(tb testing.TB, name string, until time.Time) (certFile, keyFile string) {
	tb.Helper()
	key, der := issue(tb, a.cert, a.key, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	certFile, keyFile = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+"-key.pem")
	writePEM(tb, certFile, "CERTIFICATE", der)
	writePEM(tb, keyFile, "EC PRIVATE KEY", private)
	return certFile, keyFile
}

func writePEM(tb testing.TB, file, kind string, der []byte) {
	tb.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// refuses opens a driver in vain. What is wrong must be said soon.
func refuses(tb testing.TB, o Options, words ...string) error {
	tb.Helper()
	began := time.Now()
	d, err := Open(tb.Context(), o)
	if err == nil {
		_ = d.Close(context.WithoutCancel(tb.Context()))
	}
	wantError(tb, err, words...)
	if took := time.Since(began); took > 20*time.Second { // 10 s, on a machine that has nothing else to do
		tb.Errorf("it took %v", took)
	}
	if err != nil && strings.Contains(err.Error(), "secret") {
		tb.Errorf("the error shows a password: %v", err)
	}
	return err
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca, stranger := newAuthority(t, "ours"), newAuthority(t, "another")
	cert, key := ca.sign(t, "redis.test", time.Now().Add(time.Hour))
	ours, oursKey := ca.sign(t, "client", time.Now().Add(time.Hour))
	late, lateKey := ca.sign(t, "late", time.Now().Add(-time.Hour))
	server := brokertest.Redis(t, "tls-cert-file "+cert, "tls-key-file "+key, "tls-ca-cert-file "+ca.file, "tls-auth-clients optional")
	good := TLS{CA: ca.file, Cert: ours, Key: oursKey}
	open := func(tls TLS) error {
		d, err := Open(t.Context(), Options{URL: server.URL, TLS: tls, ConnectTimeout: value.Duration(3 * time.Second)})
		if err != nil {
			return err
		}
		return errors.Join(d.Publish(t.Context(), unique(t), texts("x")), d.Close(t.Context()))
	}
	named := good
	named.ServerName = "redis.test"
	for _, tls := range []TLS{good, named, {CA: ca.file}} {
		if err := open(tls); err != nil {
			t.Errorf("%+v: %v", tls, err)
		}
	}
	for name, c := range map[string]struct {
		tls   TLS
		words []string
	}{
		"another authority":           {TLS{CA: stranger.file, Cert: ours, Key: oursKey}, []string{"certificate", "unknown authority"}},
		"another name":                {TLS{CA: ca.file, Cert: ours, Key: oursKey, ServerName: "other"}, []string{"redis.test", "other"}},
		"an expired one":              {TLS{CA: ca.file, Cert: late, Key: lateKey}, []string{"remote error", "expired certificate"}},
		"a missing file":              {TLS{CA: "/missing.pem"}, []string{"tls.ca", "/missing.pem"}},
		"no certificate in the file":  {TLS{CA: oursKey}, []string{"tls.ca", "no PEM certificate"}},
		"a key of another":            {TLS{CA: ca.file, Cert: ours, Key: lateKey}, []string{"tls.cert and tls.key"}},
		"a certificate without a key": {TLS{CA: ca.file, Cert: ours}, []string{"cert and key go together"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantError(t, open(c.tls), c.words...)
		})
	}
}

func TestExpiredServer(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ours")
	cert, key := ca.sign(t, "redis.test", time.Now().Add(-time.Hour))
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveTLS(t, server, cert, key)
	refuses(t, Options{URL: "rediss://" + server.Addr().String(), TLS: TLS{CA: ca.file}}, "certificate", "expired")
}

func TestTLSMeetsPlain(t *testing.T) {
	t.Parallel()
	server := brokertest.SharedRedis(t)
	brief := value.Duration(500 * time.Millisecond)
	refuses(t, Options{URL: "rediss://" + server.Addrs[0], ConnectTimeout: brief}, "connect to Redis", "does this port speak TLS?")
	ca := newAuthority(t, "ours")
	cert, key := ca.sign(t, "redis.test", time.Now().Add(time.Hour))
	secure := brokertest.Redis(t, "tls-cert-file "+cert, "tls-key-file "+key, "tls-ca-cert-file "+ca.file, "tls-auth-clients optional")
	refuses(t, Options{URL: "redis://" + secure.Addrs[0], ConnectTimeout: brief}, "rediss://?")
}

func TestUsers(t *testing.T) {
	t.Parallel()
	server := brokertest.Redis(t, "user default off",
		"user all on >secret1 ~* &* +@all",
		"user bare on >secret2 ~tasks* ~{tasks* -@all +ping +hmget +type +exists +hset +evalsha +eval +xadd +multi +exec +client|setname",
		"user blind on >secret3 ~* -@all +ping +client|setname")
	address := server.Addrs[0]
	ctx := t.Context()
	refuses(t, Options{URL: "redis://" + address}, "NOAUTH")
	refuses(t, Options{URL: "redis://all:secret@" + address}, "WRONGPASS", "***@")
	refuses(t, Options{URL: "redis://" + address, User: "nobody", Password: value.NewSecret("secret1")}, "WRONGPASS", "check user and password")
	if err := refuses(t, Options{URL: "redis://" + address, Password: value.NewSecret("secret1")}, "WRONGPASS"); !errors.Is(err, driver.ErrDenied) {
		t.Errorf("%v, want ErrDenied", err)
	}
	open := func(user, password string) *Driver {
		d, _ := open(t, "redis://"+address, func(o *Options) { o.User, o.Password = user, value.NewSecret(password) })
		return d
	}
	all := open("all", "secret1")
	publish(t, all, "tasks", "x")
	publish(t, all, "elsewhere", "x")
	bare := open("bare", "secret2")
	if err := bare.Publish(ctx, "tasks.new", texts("x")); err != nil {
		t.Error(err)
	}
	if err := bare.Publish(ctx, "elsewhere", texts("x")); !errors.Is(err, driver.ErrDenied) {
		t.Errorf("Publish to a topic without rights: %v, want ErrDenied", err)
	}
	if _, err := bare.Subscribe(ctx, sub("tasks")); !errors.Is(err, driver.ErrDenied) {
		t.Errorf("Subscribe without rights: %v, want ErrDenied", err)
	}
	blind := open("blind", "secret3")
	if err := blind.Publish(ctx, "tasks", texts("x")); !errors.Is(err, driver.ErrDenied) {
		t.Errorf("Publish without rights: %v, want ErrDenied", err)
	}
	if err := all.client.Do(ctx, "acl", "setuser", "bare", "-xadd").Err(); err != nil {
		t.Fatal(err)
	}
	if err := bare.Publish(ctx, "tasks.new", texts("x")); !errors.Is(err, driver.ErrDenied) || !strings.Contains(err.Error(), "xadd") {
		t.Errorf("Publish after the right was taken away: %v, want ErrDenied", err)
	}
}

func TestServersThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	brief := value.Duration(500 * time.Millisecond)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	_ = listener.Close()
	hole := faultproxy.New(t, faultproxy.Bytes, brokertest.SharedRedis(t).Addrs[0])
	hole.Set(faultproxy.Faults{HoldReplies: true, HoldRequests: true})
	refuses(t, Options{URL: "redis://me:secret@" + nobody, ConnectTimeout: brief}, "connect_timeout 500ms", "refused", nobody, "***@")
	refuses(t, Options{URL: "redis://" + hole.Addr(), ConnectTimeout: brief}, "connect_timeout 500ms")
	refuses(t, Options{URL: "redis://host.invalid", ConnectTimeout: brief}, "host.invalid")
	refuses(t, Options{
		URL: "redis://", ConnectTimeout: brief, Sentinel: Sentinel{Master: "m", Addresses: []string{nobody}},
	}, `master "m" of the sentinels `+nobody, "connect_timeout 500ms")
	refuses(t, Options{URL: "redis://" + nobody, Cluster: true, ConnectTimeout: brief}, "connect_timeout 500ms")
}

func TestServersThatAreNoUse(t *testing.T) {
	t.Parallel()
	server := brokertest.Redis(t, "proto-max-bulk-len 2mb")
	refuses(t, Options{URL: server.URL, MaxBody: 3 * value.MiB}, "proto-max-bulk-len", "2097152", "3MiB")
	refuses(t, Options{URL: server.URL, Cluster: true, MaxBody: value.MiB}, "cluster support disabled")
	if err := direct(t, server).Do(t.Context(), "replicaof", "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	refuses(t, Options{URL: server.URL, MaxBody: value.MiB, ConnectTimeout: value.Duration(300 * time.Millisecond)}, "replica of 127.0.0.1:1")
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	sentinel, master, replica := brokertest.RedisSentinel(t)
	refuses(t, Options{URL: "redis://" + sentinel.Addrs[0], ConnectTimeout: value.Duration(2 * time.Second)}, "Sentinel")
	d, _ := open(t, "redis://", func(o *Options) {
		o.Sentinel = Sentinel{Master: brokertest.SentinelMaster, Addresses: sentinel.Addrs}
	})
	topic := unique(t)
	publish(t, d, topic, "before")
	eventually(t, "the replica has the message", func() bool {
		n, err := direct(t, replica).XLen(t.Context(), topic).Result()
		return err == nil && n == 1
	})
	src := subscribe(t, d, sub(topic))
	want(t, take(t, src, 1), "before")
	master.Kill(t)
	ctx := patience(t)
	if err := d.Publish(ctx, topic, texts("after")); err != nil {
		t.Fatalf("Publish across a failover: %v", err)
	}
	for {
		got := take(t, src, 1)
		if string(got[0].Body) == "after" {
			break
		}
	}
	if n := length(t, direct(t, replica), topic); n != 2 {
		t.Errorf("the new master has %d messages, want 2", n)
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	nodes := brokertest.RedisCluster(t)
	refuses(t, Options{URL: nodes[0].URL}, "set cluster: true")
	var hosts []string
	for _, n := range nodes {
		hosts = append(hosts, n.Addrs[0])
	}
	d, _ := open(t, "redis://"+strings.Join(hosts, ","), func(o *Options) { o.Cluster = true })
	ctx, topic := t.Context(), unique(t)
	ensureTopic(t, d, driver.Topic{Name: topic, Shards: 6})
	var msgs []*driver.Message
	for range 3 { // keys come again, and every node has some
		msgs = append(msgs, keyed("a", "b", "c", "d", "e", "f", "g", "h", "i", "")...)
	}
	if err := d.Publish(ctx, topic, msgs); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(ctx, topic, keyed("a", "b", "c", "d", "e")); err != nil {
		t.Fatal(err)
	}
	src := subscribe(t, d, sub(topic))
	var held []*driver.Message
	for len(held) < 35 {
		held = append(held, take(t, src, 1)...)
		settle(t, src, driver.Ack, held[len(held)-1])
	}
	lag, err := d.Lag(ctx, topic, "group")
	if err != nil || lag != (driver.Lag{}) {
		t.Errorf("lag %+v, %v", lag, err)
	}
	all, err := d.Topics(ctx)
	if err != nil || len(all) != 1 || all[0].Shards != 6 {
		t.Errorf("topics %+v, %v", all, err)
	}
	n := 0
	if err := d.Browse(ctx, topic, driver.Start{}, false, func(*driver.Message) bool { n++; return true }); err != nil || n != 35 {
		t.Errorf("browsed %d messages, %v", n, err)
	}
	found, err := d.Inspect(ctx, driver.Use{Writes: []string{topic}, Reads: []driver.Reading{{Topic: topic, Group: "group"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes {
		expect(t, finding(t, found, "appendonly", "server "+node.Addrs[0]), driver.Good)
	}
}

// TestClusterMovesASlot follows a stream to another node, and stores nothing
// twice.
func TestClusterMovesASlot(t *testing.T) {
	t.Parallel()
	nodes := brokertest.RedisCluster(t)
	d, _ := open(t, "redis://"+nodes[0].Addrs[0], func(o *Options) { o.Cluster = true })
	ctx, topic := t.Context(), "moving"
	publish(t, d, topic, "before")
	cluster, _ := d.client.(*redis.ClusterClient)
	slot, err := cluster.ClusterKeySlot(ctx, topic).Result()
	if err != nil {
		t.Fatal(err)
	}
	from, err := cluster.MasterForKey(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	to := nodes[0]
	if from.Options().Addr == to.Addrs[0] {
		to = nodes[1]
	}
	moveSlot(t, int(slot), from, direct(t, to))
	for _, msgs := range [][]*driver.Message{keyed("a", "b"), keyed("a", "a", "b")} {
		if err := d.Publish(ctx, topic, msgs); err != nil {
			t.Errorf("Publish after the slot moved: %v", err)
		}
	}
	if n := length(t, direct(t, to), topic); n != 6 {
		t.Errorf("%d messages are stored, want 6", n)
	}
}

// moveSlot gives a slot to another node, with all that is in it.
func moveSlot(tb testing.TB, slot int, from, to *redis.Client) {
	tb.Helper()
	ctx := tb.Context()
	fromID, toID := from.Do(ctx, "cluster", "myid").Val(), to.Do(ctx, "cluster", "myid").Val()
	host, port, _ := net.SplitHostPort(to.Options().Addr)
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	must(to.Do(ctx, "cluster", "setslot", slot, "importing", fromID).Err())
	must(from.Do(ctx, "cluster", "setslot", slot, "migrating", toID).Err())
	keys, err := from.ClusterGetKeysInSlot(ctx, slot, 100).Result()
	must(err)
	for _, key := range keys {
		must(from.Migrate(ctx, host, port, key, 0, 5*time.Second).Err())
	}
	must(to.Do(ctx, "cluster", "setslot", slot, "node", toID).Err())
	must(from.Do(ctx, "cluster", "setslot", slot, "node", toID).Err())
}

// TestClientOfTheCaller uses one that retries, which must not double anything,
// and which stays open.
func TestClientOfTheCaller(t *testing.T) {
	t.Parallel()
	server := brokertest.SharedRedis(t)
	proxy := faultproxy.New(t, faultproxy.Redis, server.Addrs[0])
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr(), MaxRetries: 5, Protocol: 3})
	defer func() { _ = client.Close() }()
	d := New(client, nil)
	topic := unique(t)
	publish(t, d, topic, "1")
	src := subscribe(t, d, sub(topic))
	want(t, take(t, src, 1), "1")
	dropped := proxy.DropReply(1, faultproxy.Contains("xadd"))
	if err := d.Publish(t.Context(), topic, texts("2")); err == nil {
		t.Error("a lost reply is a success")
	}
	<-dropped
	if n := length(t, client, topic); n != 2 {
		t.Errorf("%d messages are stored, want 2", n)
	}
	if d.Native() != any(client) {
		t.Error("Native is another client")
	}
	closeSource(t, src)
	if err := d.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the caller's client: %v", err)
	}
	if err := d.Ping(t.Context()); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("Ping after Close: %v", err)
	}
}

func TestClientsThatCannotBe(t *testing.T) {
	t.Parallel()
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer func() { _ = ring.Close() }()
	for _, d := range []*Driver{New(ring, nil), New(nil, nil), New((*redis.Client)(nil), nil)} {
		wantError(t, d.Publish(t.Context(), "t", texts("x")), "use a *redis.Client")
		wantError(t, d.Ping(t.Context()), "use a *redis.Client")
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// serveTLS shakes hands on every connection, and no more.
func serveTLS(tb testing.TB, listener net.Listener, certFile, keyFile string) {
	tb.Helper()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		tb.Fatal(err)
	}
	var group sync.WaitGroup
	tb.Cleanup(func() {
		_ = listener.Close()
		group.Wait()
	})
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = tls.Server(conn, config).HandshakeContext(context.WithoutCancel(tb.Context())) // the client tells
			_ = conn.Close()
		}
	})
}
