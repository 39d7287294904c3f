package natsstore

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/anywire/anywire/idempotency"
)

// cluster starts three servers in this process.
func cluster(t *testing.T) (urls string, servers []*server.Server) {
	t.Helper()
	ports := make([]int, 3)
	var routes []*url.URL
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		wantNil(t, err)
		address, _ := l.Addr().(*net.TCPAddr)
		ports[i] = address.Port
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
		wantNil(t, l.Close())
	}
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("s", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), JetStreamDomain: "hub",
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port}, Routes: routes,
		})
		wantNil(t, err)
		s.Start()
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
		servers = append(servers, s)
	}
	var all []string
	for _, s := range servers {
		eventually(t, s.JetStreamIsCurrent)
		all = append(all, s.ClientURL())
	}
	return strings.Join(all, ","), servers
}

// TestCluster: on three copies, behind a domain, one of many who begin at the same
// moment has the record, also while the leader of the bucket moves and when a
// server dies; what it completes is done for all.
func TestCluster(t *testing.T) {
	t.Parallel()
	urls, servers := cluster(t)
	stores := make([]*Store, 4)
	for i := range stores {
		stores[i] = opened(t, urls, func(o *Options) {
			o.Bucket, o.Domain, o.Replicas, o.ConnectTimeout = "records", "hub", 3, 20_000_000_000
		})
	}
	for round := range 20 {
		switch round {
		case 5, 10:
			for _, s := range servers {
				_ = s.JetStreamStepdownStream("$G", "KV_records") // only its leader does
			}
		case 15:
			for _, s := range servers {
				if s.JetStreamIsStreamLeader("$G", "KV_records") {
					s.Shutdown()
				}
			}
		}
		compete(t, stores, fmt.Sprint(round))
	}
}

func compete(t *testing.T, stores []*Store, name string) {
	t.Helper()
	var group sync.WaitGroup
	var mu sync.Mutex
	acquired := 0
	for i := range 8 {
		s := stores[i%len(stores)]
		group.Go(func() {
			c := claimOf(name)
			verdicts, err := s.Begin(t.Context(), []idempotency.Claim{c})
			if err != nil {
				t.Error(err)
				return
			}
			if verdicts[0].State != idempotency.Acquired {
				return
			}
			mu.Lock()
			acquired++
			mu.Unlock()
			errs, err := s.Update(t.Context(), []idempotency.Change{{Key: c.Key, Token: c.Token, Op: idempotency.Complete, TTL: c.TTL}})
			if err := errors.Join(append(errs, err)...); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if acquired != 1 {
		t.Errorf("message %s was acquired %d times", name, acquired)
	}
	c := claimOf(name)
	until := time.Now().Add(10 * time.Second)
	for { // a copy may lag behind
		verdicts, err := stores[0].Begin(t.Context(), []idempotency.Claim{c})
		wantNil(t, err)
		if verdicts[0].State == idempotency.Done {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("message %s: %+v, want done", name, verdicts[0])
		}
	}
}
