package natsdriver

import (
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/transport/driver"
)

func TestKeyTravelsAsAttribute(t *testing.T) {
	t.Parallel()
	h := nats.Header{}
	key := "Euro € 😀 100% \"q\""
	if _, err := fill(h, nil, &driver.Message{Key: key}, "s"); err != nil {
		t.Fatal(err)
	}
	if got, want := h[keyHeader], []string{"Euro%20%E2%82%AC%20%F0%9F%98%80%20100%25%20%22q%22"}; !slices.Equal(got, want) {
		t.Errorf("key is written as %q, want %q", got, want)
	}
	if _, got := headersOf(h); got != key {
		t.Errorf("key reads back as %q, want %q", got, key)
	}
}

func TestKeyIsNotWrittenTwice(t *testing.T) {
	t.Parallel()
	h := nats.Header{}
	m := &driver.Message{Key: "a b", Headers: []driver.Header{{Name: keyHeader, Value: "a%20b"}, {Name: "x", Value: "1"}, {Name: "x", Value: "2"}}}
	if _, err := fill(h, nil, m, "s"); err != nil {
		t.Fatal(err)
	}
	if got := h[keyHeader]; len(got) != 1 {
		t.Errorf("the key's header has the values %q, want one", got)
	}
	if got := h["x"]; !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("a header that is there twice has the values %q", got)
	}
}

func TestServerHeadersStayBehind(t *testing.T) {
	t.Parallel()
	headers, _ := headersOf(nats.Header{dedupHeader: {"1"}, expectedHeader: {"s"}, pinHeader: {"p"}, "ce-id": {"7"}})
	if want := []driver.Header{{Name: "ce-id", Value: "7"}}; !slices.Equal(headers, want) {
		t.Errorf("headers are %v, want %v", headers, want)
	}
}

// TestHeadersThatAreRefused: the client would change them on the way, or the
// server act on them (Nats-Rollup purges the stream).
func TestHeadersThatAreRefused(t *testing.T) {
	t.Parallel()
	for want, h := range map[string]driver.Header{
		"belong to the server": {Name: "nats-rollup", Value: "all"},
		"white space":          {Name: "x", Value: " 1"},
		"line break":           {Name: "x", Value: "a\nb"},
		`header name ""`:       {},
		`header name "a:b"`:    {Name: "a:b"},
	} {
		_, err := fill(nats.Header{}, nil, &driver.Message{Headers: []driver.Header{h}}, "s")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("header %q: error %v, want one that says %q", h, err, want)
		}
	}
}

func FuzzPercent(f *testing.F) {
	for _, seed := range []string{"", "a", "%", "%4", "%41", "Euro € 😀", "\x00\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		encoded := percent(s)
		if back := unpercent(encoded); back != s {
			t.Errorf("%q is encoded as %q, which reads back as %q", s, encoded, back)
		}
		if err := legal("x", encoded); err != nil {
			t.Errorf("%q is encoded as %q: %v", s, encoded, err)
		}
		_ = unpercent(s)
	})
}

func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		"$JS.ACK.tasks~research.group@0.1.22.3.1700000000000000000.4",
		"$JS.ACK.hub.AC123.s.c.2.22.3.1700000000000000000.4.random",
		"$JS.ACK.", "$JS.ACK.a.b.c", "_INBOX.x", "$JS.ACK.s.c.1.99999999999999999999.3.4.5",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, reply string) {
		facts, ok := parseReply(reply)
		if n, isNumber := number(facts.position); ok && (!isNumber || n != facts.seq) {
			t.Errorf("%q: sequence %d is written %q", reply, facts.seq, facts.position)
		}
	})
}

func TestReplies(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{"$JS.ACK.s.c.2.22.3.1700000000000000000.4", "$JS.ACK.hub.AC123.s.c.2.22.3.1700000000000000000.4.random"} {
		got, ok := parseReply(reply)
		want := replyFacts{deliveries: 2, seq: 22, position: "22", num: 3, stamp: 1700000000000000000}
		if !ok || got != want {
			t.Errorf("%s reads as %+v, %v; want %+v", reply, got, ok, want)
		}
	}
}
