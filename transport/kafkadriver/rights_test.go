package kafkadriver

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// forbid denies everybody an operation.
func forbid(tb testing.TB, d *Driver, what *kadm.ACLBuilder) {
	tb.Helper()
	answers, err := d.adm.CreateACLs(tb.Context(), what.Deny("User:ANONYMOUS").DenyHosts().ResourcePatternType(kadm.ACLPatternLiteral))
	if err != nil {
		tb.Fatal(err)
	}
	for _, a := range answers {
		if a.Err != nil {
			tb.Fatal(a.Err)
		}
	}
}

// TestMissingRights has the driver say at once what it may not do, and on what.
func TestMissingRights(t *testing.T) {
	t.Parallel()
	server := brokertest.Kafka(t,
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "allow.everyone.if.no.acl.found=true")
	d, _ := open(t, server.Addrs, nil)
	for name, c := range map[string]struct {
		acl func(topic, group string) *kadm.ACLBuilder
		try func(topic, group string) error
	}{
		"write": {
			func(topic, _ string) *kadm.ACLBuilder {
				return kadm.NewACLs().Topics(topic).Operations(kadm.OpWrite)
			},
			func(topic, _ string) error {
				return d.Publish(t.Context(), topic, []*driver.Message{{Body: []byte("x")}})
			},
		},
		"read": {
			func(topic, _ string) *kadm.ACLBuilder {
				return kadm.NewACLs().Topics(topic).Operations(kadm.OpRead)
			},
			func(topic, group string) error { return refusedSource(t, d, topic, group) },
		},
		"group": {
			func(_, group string) *kadm.ACLBuilder {
				return kadm.NewACLs().Groups(group).Operations(kadm.OpRead)
			},
			func(topic, group string) error { return refusedSource(t, d, topic, group) },
		},
		"describe": {
			func(topic, _ string) *kadm.ACLBuilder {
				return kadm.NewACLs().Topics(topic).Operations(kadm.OpDescribe)
			},
			func(topic, group string) error { return refusedSource(t, d, topic, group) },
		},
	} {
		topic, group := topicOf(t, d, 1), unique(t)
		forbid(t, d, c.acl(topic, group))
		object := topic
		if name == "group" {
			object = group
		}
		if err := c.try(topic, group); !errors.Is(err, driver.ErrDenied) || !strings.Contains(err.Error(), object) {
			t.Errorf("%s: error is %v, want one that wraps ErrDenied and names %q", name, err, object)
		}
	}
	topic := unique(t)
	forbid(t, d, kadm.NewACLs().Topics(topic).Operations(kadm.OpCreate))
	forbid(t, d, kadm.NewACLs().Clusters().Operations(kadm.OpCreate))
	_, err := d.EnsureTopic(t.Context(), driver.Topic{Name: topic})
	if !errors.Is(err, driver.ErrDenied) || !strings.Contains(err.Error(), topic) {
		t.Errorf("create: error is %v, want one that wraps ErrDenied and names %q", err, topic)
	}
}

// refusedSource is the error of subscribing, or of the first Receive.
func refusedSource(tb testing.TB, d *Driver, topic, group string) error {
	tb.Helper()
	src, err := d.Subscribe(tb.Context(), driver.Subscription{Topic: topic, Group: group, Window: 10, Lease: time.Minute})
	if err != nil {
		return err
	}
	tb.Cleanup(func() { _ = src.Close(patience(tb)) })
	_, err = src.Receive(patience(tb), 1)
	return err
}
