package redisdriver

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func TestEntryOfAReply(t *testing.T) {
	t.Parallel()
	p := &resp{buf: []byte("*3\r\n$3\r\n1-2\r\n*4\r\n$1\r\na\r\n$0\r\n\r\n$4\r\ndata\r\n$3\r\n\r\nx\r\n:7\r\n")}
	e, _, _ := p.entry(nil, nil)
	if p.err != nil || e.id != "1-2" || e.count != 7 || !slices.Equal(e.fields, []string{"a", "", "data", "\r\nx"}) {
		t.Errorf("entry is %+v, error %v", e, p.err)
	}
}

func TestDeletedEntryOfAReply(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"*2\r\n$3\r\n1-2\r\n*-1\r\n", "*2\r\n$3\r\n1-2\r\n_\r\n", "*2\r\n$3\r\n1-2\r\n$-1\r\n"} {
		p := &resp{buf: []byte(text)}
		e, _, _ := p.entry(nil, nil)
		if p.err != nil || e.id != "1-2" || e.fields != nil {
			t.Errorf("%q: entry is %+v, error %v", text, e, p.err)
		}
	}
}

func TestErrorInAReply(t *testing.T) {
	t.Parallel()
	p := &resp{buf: []byte("-NOGROUP No such key 'a'\r\n")}
	p.array()
	var r refusal
	if !errors.As(p.err, &r) || !isLost(p.err) {
		t.Errorf("error is %v, want the server's", p.err)
	}
}

// FuzzReply reads what no server sends, without a panic.
func FuzzReply(f *testing.F) {
	f.Add([]byte("*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"))
	f.Add([]byte("%1\r\n$1\r\ns\r\n*1\r\n*3\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n:2\r\n"))
	f.Add([]byte("*-1\r\n"))
	f.Add([]byte("*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$-1\r\n*0\r\n"))
	f.Add([]byte("*999999999\r\n"))
	f.Add([]byte("$-5\r\n*2\r\n$99999999999999999999\r\n"))
	f.Fuzz(func(t *testing.T, reply []byte) {
		s := &source{shards: 1}
		r := &reader{s: s, streams: []*stream{newStream("s", "group", 0, 1)}}
		list, err := r.decodeStreams(reply, r.streams, time.Now())
		for _, d := range list {
			if d.msg == nil || d.msg.Token == nil {
				t.Errorf("a delivery without a message, error %v", err)
			}
		}
	})
}

func TestIDs(t *testing.T) {
	t.Parallel()
	last := uint64(0)
	for _, id := range []string{"0-1", "1-0", "1-1", "1700000000000-0", "1700000000000-1", "1700000000001-0"} {
		if seq := seqOf(id); seq <= last {
			t.Errorf("Seq of %s is %d after %d", id, seq, last)
		} else {
			last = seq
		}
	}
	for _, odd := range []string{"", "x", "1", "1-x", "99999999999999-0", "1-99999999"} {
		if seq := seqOf(odd); seq != 0 {
			t.Errorf("Seq of %q is %d, want 0: it does not fit", odd, seq)
		}
	}
	if at := publishedAt("1700000000123-4"); at.UnixMilli() != 1700000000123 {
		t.Errorf("published at %v", at)
	}
	if a, b := position("1-1", 0, 1), position("1-1", 2, 3); a != "1-1" || b != "2/1-1" {
		t.Errorf("positions are %q and %q", a, b)
	}
}
