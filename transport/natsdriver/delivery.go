package natsdriver

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/transport/driver"
)

// delivery is one message with what it takes to settle it. A pointer to it is
// the token.
type delivery struct {
	msg driver.Message
	src *source
	seq uint64 // in the stream
	num uint64 // among all deliveries of the consumer, of whatever position

	// Under the source's lock.
	reply     string
	deadline  time.Time // by our clock, and never later than the server's
	queued    bool      // Receive has not returned it yet
	returning bool      // Settle is giving it back
	acked     bool      // the server was told that it is done, and perhaps knows
	finished  bool      // it does know, and Settle has not heard of it
	recalled  bool      // it came again since recall asked
}

// newDelivery reads what the reply subject says: $JS.ACK.[domain.account.]
// stream.consumer.deliveries.sequence.consumer-sequence.time.pending[.random].
func (s *source) newDelivery(m *nats.Msg) (*delivery, error) {
	facts, ok := parseReply(m.Reply)
	if !ok {
		return nil, fmt.Errorf("delivery with the reply subject %q, which is none of JetStream's", m.Reply)
	}
	d := &delivery{src: s, seq: facts.seq, num: facts.num, reply: m.Reply}
	d.msg = driver.Message{
		Body: m.Data, Token: d, Shard: s.shard, Seq: facts.seq, Position: facts.position,
		Published: time.Unix(0, facts.stamp), Deliveries: facts.deliveries,
	}
	if s.shard < 0 {
		d.msg.Shard = s.topic.shardAt(m.Subject)
	}
	d.msg.Headers, d.msg.Key = headersOf(m.Header)
	return d, nil
}

type replyFacts struct {
	deliveries int
	seq        uint64
	position   string // of seq, sharing the reply's memory
	num        uint64
	stamp      int64
}

const ackPrefix = "$JS.ACK."

func parseReply(reply string) (replyFacts, bool) {
	rest, ok := strings.CutPrefix(reply, ackPrefix)
	if !ok {
		return replyFacts{}, false
	}
	skip := 2 // stream and consumer
	if strings.Count(rest, ".") >= 8 {
		skip = 4 // domain and account before them
	}
	for range skip {
		if _, rest, ok = strings.Cut(rest, "."); !ok {
			return replyFacts{}, false
		}
	}
	var f replyFacts
	deliveries, rest, _ := strings.Cut(rest, ".")
	f.position, rest, _ = strings.Cut(rest, ".")
	num, rest, _ := strings.Cut(rest, ".")
	stamp, _, _ := strings.Cut(rest, ".")
	n, ok1 := number(deliveries)
	seq, ok2 := number(f.position)
	among, ok3 := number(num)
	ts, ok4 := number(stamp)
	f.deliveries, f.seq, f.num, f.stamp = int(n), seq, among, int64(ts)
	return f, ok1 && ok2 && ok3 && ok4
}

// number reads decimal digits.
func number(s string) (uint64, bool) {
	if s == "" || len(s) > 19 {
		return 0, false
	}
	var n uint64
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + uint64(c)
	}
	return n, true
}
