package kafkadriver

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/transport/driver"
)

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	if err := (Options{}).Validate(); err != nil {
		t.Fatal(err)
	}
	caps, err := Kind().Capabilities(nil)
	if err != nil || caps != Capabilities(Options{}) {
		t.Errorf("the kind declares %+v, %v", caps, err)
	}
}

// Every problem is told at once, with the value and the way out.
func TestEveryProblemIsTold(t *testing.T) {
	t.Parallel()
	o := Options{
		Brokers: []string{"nowhere", "a:1"}, Compression: "rar", Protocol: "share", Replicas: -1,
		Linger: value.Duration(3 * time.Millisecond), ConnectTimeout: -1, SessionTimeout: -1,
		PublishTimeout: value.Duration(time.Millisecond), MaxPending: 1, MaxBody: 1,
		SASL: SASL{Mechanism: "GSSAPI", Token: value.NewSecret("t"), TokenFile: "f"}, TLS: TLS{Cert: "c"}, System: "a b",
	}
	err := o.Validate()
	if err == nil {
		t.Fatal("it is valid")
	}
	for _, want := range []string{
		`brokers: "nowhere"`, `compression "rar"`, `protocol "share"`, "replicas -1", "linger 3ms", "connect_timeout", "session_timeout",
		"publish_timeout 1ms", "max_body", `mechanism "GSSAPI"`, "token and token_file", "cert and key", "system's name",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %s in:\n%v", want, err)
		}
	}
	if _, err := Open(t.Context(), o); err == nil {
		t.Error("Open takes it")
	}
	if err := New(nil, &o).Ping(t.Context()); err == nil {
		t.Error("New takes it")
	}
}

func TestLoginsThatCannotBe(t *testing.T) {
	t.Parallel()
	secret := value.NewSecret("s")
	for want, s := range map[string]SASL{
		"needs a mechanism":          {User: "u", Password: secret},
		"PLAIN needs user and pass":  {Mechanism: mechanismPlain, User: "u"},
		"OAUTHBEARER needs a token":  {Mechanism: mechanismBearer},
		"no user and password":       {Mechanism: mechanismBearer, Token: secret, User: "u"},
		"a token is for OAUTHBEARER": {Mechanism: mechanismScram256, User: "u", Password: secret, Token: secret},
		"token and token_file":       {Mechanism: mechanismBearer, Token: secret, TokenFile: "f"},
	} {
		if err := (Options{SASL: s}).Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func TestSetLoggerAndSystem(t *testing.T) {
	t.Parallel()
	o, ok := Kind().NewOptions().(*Options)
	if !ok {
		t.Fatal("the kind has other options")
	}
	var log, other bytes.Buffer
	o.SetLogger(slog.New(slog.NewTextHandler(&log, nil)))
	o.SetLogger(slog.New(slog.NewTextHandler(&other, nil)))
	o.SetSystem("one")
	o.SetSystem("two")
	o.Logger.Info("x")
	if log.Len() == 0 || other.Len() != 0 || o.System != "one" {
		t.Errorf("what was set was replaced: %q %q %q", log.String(), other.String(), o.System)
	}
}

func TestTopicNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "A.b_c-9", strings.Repeat("x", 249)} {
		if err := validName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", ".", "..", "a b", "a/b", "ä", "a*", strings.Repeat("x", 250)} {
		if err := validName(name); !errors.Is(err, driver.ErrName) {
			t.Errorf("%q: %v, want ErrName", name, err)
		}
	}
}

// A group's name may be nothing for a topic, such as its inbox: that is said before
// anything is made.
func TestGroupNames(t *testing.T) {
	t.Parallel()
	cluster := fake(t)
	d, _ := open(t, cluster.ListenAddrs(), nil)
	for name, c := range map[string]struct {
		sub  driver.Subscription
		want string
	}{
		"empty":   {driver.Subscription{}, "the group has none"},
		"illegal": {driver.Subscription{Group: "my group"}, `come back by the topic "my group.inbox", so rename the group or its agent`},
		"long":    {driver.Subscription{Group: strings.Repeat("g", 244)}, "has 250 characters, and Kafka takes 249"},
		"inbox":   {driver.Subscription{Group: "group", Inbox: "an agent.inbox"}, `' ' cannot stand in a topic's name on Kafka: use 1 to 249 letters`},
	} {
		c.sub.Topic, c.sub.Window, c.sub.Lease = unique(t), 1, time.Second
		_, err := d.Subscribe(t.Context(), c.sub)
		if !errors.Is(err, driver.ErrName) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if _, err := d.EnsureTopic(t.Context(), driver.Topic{Name: c.sub.Topic, Require: true}); !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("%s: the topic was made: %v", name, err)
		}
	}
	s := ordered(topicOf(t, d, 1), "in order") // it has no inbox
	subscribe(t, d, s).close()
}
