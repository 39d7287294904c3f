package faultproxy

import (
	"strings"
	"testing"
)

// TestDialects: messages are found whole, whatever is cut off, and a request and
// its reply share an id.
func TestDialects(t *testing.T) {
	t.Parallel()
	kafka := func(rest string) string { return "\x00\x00\x00" + string(rune(len(rest))) + rest }
	for name, c := range map[string]struct {
		protocol Protocol
		requests []string
		answered []bool // of the requests
		replies  []string
		pushes   []string // what the server says unasked
		unknown  []string
	}{
		"redis": {
			protocol: Redis,
			requests: []string{respCommand("PING"), respCommand("SET", "k", "v\r\n*1"), respCommand("A"), respCommand("B"), respCommand("C")},
			replies:  []string{"+OK\r\n", "*2\r\n$1\r\na\r\n*-1\r\n", "%1\r\n+a\r\n:1\r\n", "$-1\r\n", "_\r\n"},
			pushes:   []string{">2\r\n+message\r\n$3\r\nabc\r\n", "|1\r\n+ttl\r\n:1\r\n"},
			answered: []bool{true, true, true, true, true},
			unknown:  []string{"PING\r\n", "*x\r\n"},
		},
		"kafka": {
			protocol: Kafka,
			requests: []string{kafka("\x00\x00\x00\x09\x00\x00\x00\x07body"), kafka("\x00\x01\x00\x09\x00\x00\x00\x08")},
			replies:  []string{kafka("\x00\x00\x00\x07done"), kafka("\x00\x00\x00\x08")},
			answered: []bool{true, true},
			unknown:  []string{kafka("\x00")},
		},
		"nats": {
			protocol: NATS,
			requests: []string{"CONNECT {}\r\n", "PING\r\n", "PUB a 3\r\nabc\r\n", "PUB a in.1 3\r\nPUB\r\n", "HPUB a in.2 2 3\r\nabc\r\n", "HPUB a 2 3\r\nabc\r\n"},
			replies:  []string{"MSG in.1 9 2\r\nok\r\n", "HMSG in.2 9 2 4\r\nokok\r\n"},
			pushes:   []string{"INFO {}\r\n", "PONG\r\n"},
			answered: []bool{false, false, false, true, true, false},
			unknown:  []string{"PUB a x\r\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := c.protocol.dialect()
			var ids []string
			for i, request := range c.requests {
				_, id := oneMessage(t, d.request, request)
				if got := id != ""; got != c.answered[i] {
					t.Errorf("request %q is answered: %v", request, got)
				}
				if id != "" {
					ids = append(ids, id)
				}
			}
			for _, push := range c.pushes {
				if _, id := oneMessage(t, d.reply, push); id != "" {
					t.Errorf("%q is an answer to %s", push, id)
				}
			}
			for i, reply := range c.replies {
				if _, id := oneMessage(t, d.reply, reply); id != ids[i] {
					t.Errorf("reply %q is to %q, want %q", reply, id, ids[i])
				}
			}
			for _, unknown := range c.unknown {
				if n, _ := d.request([]byte(unknown)); n != -1 {
					t.Errorf("%q is a request of %d bytes", unknown, n)
				}
			}
		})
	}
}

// oneMessage wants text to be one message, and no beginning of it to be one.
func oneMessage(t *testing.T, read func([]byte) (int, string), text string) (int, string) {
	t.Helper()
	for cut := 1; cut < len(text); cut++ {
		if n, _ := read([]byte(text[:cut])); n > 0 {
			t.Errorf("%q has a message of %d bytes", text[:cut], n)
		}
	}
	n, id := read([]byte(text + strings.Repeat(text, 2)))
	if n != len(text) {
		t.Errorf("%q has %d bytes, want %d", text, n, len(text))
	}
	return n, id
}

func TestMatches(t *testing.T) {
	t.Parallel()
	if !Contains("xAdd")([]byte("$4\r\nXaDD")) || Contains("xadd")([]byte("XDEL")) {
		t.Error("Contains does not look at letters")
	}
	produce := []byte("\x00\x00\x00\x08\x00\x00\x00\x09\x00\x00\x00\x07")
	if !KafkaAPI(0)(produce) || KafkaAPI(1)(produce) {
		t.Error("KafkaAPI does not look at the kind")
	}
}
