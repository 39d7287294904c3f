package kafkadriver

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
		if err := validName(name); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}
