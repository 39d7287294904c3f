package natsdriver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// A user with no more rights than an inspection asks for can make topics, read
// them in both ways, and own shards.
func TestTheRightsThatAreAskedForSuffice(t *testing.T) {
	t.Parallel()
	use := driver.Use{Writes: []string{"in", "out"}, Reads: []driver.Reading{
		{Topic: "in", Group: "loose", Lease: longLease},
		{Topic: "out", Group: "tight", Lease: longLease, Ordered: true},
	}}
	server := brokertest.NATS(t, limited("one", rightsOf(t, use)))
	d, _ := open(t, server.URL, func(o *Options) {
		o.User = "one"
		_ = o.Password.UnmarshalText([]byte("pw"))
	})
	for topic, s := range map[string]driver.Subscription{
		"in":  {Topic: "in", Group: "loose", Window: 10, Lease: longLease},
		"out": {Topic: "out", Group: "tight", Window: 10, Lease: longLease, Ordered: true, Shards: []int{0}},
	} {
		ctx := patience(t)
		if _, err := d.EnsureTopic(ctx, driver.Topic{Name: topic}); err != nil {
			t.Fatal(err)
		}
		if s.Ordered {
			for range 2 { // the second time it is there
				if _, err := d.Acquire(ctx, topic, "shard-0", "me", longLease); err != nil {
					t.Fatal(err)
				}
			}
			if held, err := d.Leases(ctx, topic); err != nil || len(held) != 1 {
				t.Fatalf("leases %v, %v", held, err)
			}
		}
		src, err := d.Subscribe(ctx, s)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Publish(ctx, topic, texts("1")); err != nil {
			t.Fatal(err)
		}
		got := take(t, src, 1)
		if err := src.Settle(ctx, []driver.Settlement{{Token: got[0].Token}}); err != nil {
			t.Error(err)
		}
		if err := src.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	for _, f := range inspect(t, d, use) {
		if f.Check == "rights" && f.Level != driver.Good {
			t.Errorf("%+v", f)
		}
	}
}

// rightsOf are the rights that an inspection would ask for where nothing is there.
func rightsOf(t *testing.T, use driver.Use) (publish []string) {
	t.Helper()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	publish = []string{"$SYS.REQ.USER.INFO"}
	for _, r := range (&inspection{Driver: d, use: use}).needed() {
		if !r.toListen {
			publish = append(publish, r.subject)
		}
	}
	return publish
}

// limited is a configuration with one user, who may publish to some subjects only.
func limited(user string, publish []string) string {
	quoted := make([]string, len(publish))
	for i, subject := range publish {
		quoted[i] = fmt.Sprintf("%q", subject)
	}
	return fmt.Sprintf(`accounts { APP { jetstream: enabled, users: [
  { user: %s, password: pw, permissions: { publish: { allow: [%s] }, subscribe: { allow: ["_INBOX.>"] } } } ] } }`,
		user, strings.Join(quoted, ", "))
}
