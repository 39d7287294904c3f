package drivertest

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/anywire/anywire/transport/driver"
)

func orderCases() []Case {
	return []Case{
		{
			Name:     "order/published-order",
			Sentence: "Order: Subscription.Ordered is honoured: messages of one shard come in the broker's order.",
			Needs:    []Need{needOrder},
			run:      orderPublished,
		},
		{
			Name:     "order/shard-of-key",
			Sentence: "Shard of a message: (murmur2(key) & 0x7fffffff) mod N, as driver.ShardOf places it.",
			Needs:    []Need{needOrder, needAdmin},
			run:      orderShardOfKey,
		},
		{
			Name:     "order/no-key-spreads",
			Sentence: "Shard of a message without key: round robin.",
			Needs:    []Need{needAdmin},
			run:      orderNoKeySpreads,
		},
		{
			Name:     "order/only-its-shard",
			Sentence: "Shards are those to read.",
			Needs:    []Need{needOrder, needLeases, needAdmin},
			run:      orderOnlyItsShard,
		},
		{
			Name:     "order/redelivered-before-later",
			Sentence: "Ordered: redelivered messages of a shard come before later ones.",
			Needs:    []Need{needOrder},
			run:      orderRedeliveredFirst,
		},
		{
			Name:     "order/redelivered-in-order",
			Sentence: "Ordered: what is handed back together comes again in its order, before what is later.",
			Needs:    []Need{needOrder},
			run:      orderRedeliveredInOrder,
		},
		{
			Name:     "order/new-reader-after-close",
			Sentence: "A new owner takes the old owner's pending first, in broker position order, then what is new.",
			Needs:    []Need{needOrder},
			run:      orderAfterClose,
		},
		{
			Name:     "order/new-reader-after-hand-back",
			Sentence: "A new owner takes first what the old one handed back before it left, in broker position order.",
			Needs:    []Need{needOrder},
			run:      orderAfterHandBack,
		},
		{
			Name:     "order/new-reader-beside-a-stalled-one",
			Sentence: "A new owner takes the old owner's pending first, also from one that stands still and has not left.",
			Needs:    []Need{needOrder, needLeases},
			run:      orderBesideStalled,
		},
		{
			Name:     "order/new-reader-after-kill",
			Sentence: "A new owner takes the old owner's pending first, also from one that died.",
			Needs:    []Need{needOrder, needKill},
			run:      orderAfterKill,
		},
		{
			Name:     "order/acks-out-of-order",
			Sentence: "Settle ends deliveries in any order: a new owner gets those that were not, still in order.",
			Needs:    []Need{needOrder},
			run:      orderAcksOutOfOrder,
		},
		{
			Name:     "order/shards-beside-each-other",
			Sentence: "Ordered asks that a shard has one reader: a held shard does not hold up another.",
			Needs:    []Need{needOrder, needLeases, needAdmin},
			run:      orderShardsBeside,
		},
	}
}

// reader is the ordered one of a shard; of all shards where the driver owns
// them.
func (e *env) reader(topic, group string, shard int) driver.Subscription {
	s := e.subscription(topic, group)
	s.Ordered = true
	if !e.caps.OwnsShards {
		s.Shards = []int{shard}
	}
	return s
}

// leasedReader is a reader with the shortest lease.
func (e *env) leasedReader(topic, group string, shard int) driver.Subscription {
	s := e.reader(topic, group, shard)
	s.Lease = e.h.Lease
	return s
}

func orderPublished(e *env) {
	topic := e.topic(1)
	m := e.subscribe(e.reader(topic, e.group(), 0))
	e.publish(topic, e.numbered("a", 1, 20)...)
	e.publishOne(topic, e.numbered("b", 21, 30)...)
	wantOrder(e, m.gather(numbers(1, 30)...), numbers(1, 30))
}

const shards = 4

func orderShardOfKey(e *env) {
	topic, group := e.topic(shards), e.group()
	msgs := e.keyed(40)
	msgs = append(msgs, e.msg("ключ 鍵", "41"), e.msg("a", "42"))
	e.publish(topic, msgs...)
	if e.caps.OwnsShards {
		wantShards(e, e.subscribe(e.reader(topic, group, 0)), len(msgs))
		return
	}
	for shard, n := range perShard(msgs) {
		m := e.subscribe(e.reader(topic, group, shard))
		wantShards(e, m, n)
		m.close()
	}
}

func perShard(msgs []*driver.Message) [shards]int {
	var n [shards]int
	for _, m := range msgs {
		n[driver.ShardOf(m.Key, shards)]++
	}
	return n
}

func wantShards(e *env, m *member, n int) {
	e.Helper()
	for range n {
		got := m.take(1)[0]
		if want := driver.ShardOf(got.Key, shards); got.Shard != want {
			e.Errorf("key %q came from shard %d, want %d of %d", got.Key, got.Shard, want, shards)
		}
		m.ack(got)
	}
}

func orderNoKeySpreads(e *env) {
	topic := e.topic(shards)
	e.publishOne(topic, e.numbered("", 1, 20)...)
	m := e.join(topic, e.group())
	seen := map[int]bool{}
	for range 20 {
		got := m.take(1)[0]
		seen[got.Shard] = true
		if got.Shard < 0 || got.Shard >= shards {
			e.Errorf("shard is %d of %d", got.Shard, shards)
		}
		m.ack(got)
	}
	if len(seen) < 2 {
		e.Errorf("20 messages without a key are all in one of %d shards", shards)
	}
}

func orderOnlyItsShard(e *env) {
	topic, group := e.topic(shards), e.group()
	msgs := e.keyed(40)
	e.publish(topic, msgs...)
	m := e.subscribe(e.reader(topic, group, 2))
	var want []string
	for _, msg := range msgs {
		if driver.ShardOf(msg.Key, shards) == 2 {
			want = append(want, string(msg.Body))
		}
	}
	wantOrder(e, m.gather(want...), want)
	m.quiet("its shard holds nothing more")
}

func orderRedeliveredFirst(e *env) {
	e.holds(3)
	topic := e.topic(1)
	e.publish(topic, e.numbered("key", 1, 6)...)
	m := e.subscribe(e.reader(topic, e.group(), 0))
	held := m.takeRun(1, 3)
	m.handBack(held[1])
	m.ack(m.takeOne("2"))
	m.ack(held[0], held[2])
	m.takeRun(4, 6)
}

// takeRun receives from..to one by one, in this order, and holds them.
func (m *member) takeRun(from, to int) []*driver.Message {
	m.Helper()
	m.holds(to - from + 1)
	var held []*driver.Message
	for _, n := range numbers(from, to) {
		held = append(held, m.takeOne(n))
	}
	return held
}

func orderRedeliveredInOrder(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.numbered("key", 1, 8)...)
	m := e.subscribe(e.reader(topic, e.group(), 0))
	held := m.takeRun(1, 4)
	slices.Reverse(held)
	m.handBack(held...)
	m.takeRun(1, 8)
}

func orderAfterClose(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("key", 1, 8)...)
	a := e.subscribe(e.leasedReader(topic, group, 0))
	a.takeRun(1, 5)
	a.close()
	e.subscribe(e.reader(topic, group, 0)).takeRun(1, 8)
}

func orderAfterHandBack(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("key", 1, 8)...)
	s := e.reader(topic, group, 0)
	a := e.subscribe(s)
	held := a.takeRun(1, 5)
	a.ack(held[0])
	a.handBack(held[3], held[1])
	a.handBack(held[4], held[2])
	a.close()
	e.subscribe(s).takeRun(2, 8)
}

func orderBesideStalled(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("key", 1, 8)...)
	s := e.leasedReader(topic, group, 0)
	e.subscribe(s).takeRun(1, 5)
	b := e.subscribe(s)
	e.wantRising(b, numbers(1, 8))
}

func orderAfterKill(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("key", 1, 8)...)
	s := e.leasedReader(topic, group, 0)
	d := e.open()
	e.subscribeOn(d, s).takeRun(1, 5)
	e.h.Kill(e.TB, d)
	e.wantRising(e.subscribe(s), numbers(1, 8))
}

// orderAcksOutOfOrder lets the broker bring again what was acknowledged above
// the first that was not: a new reader may start there.
func orderAcksOutOfOrder(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("key", 1, 8)...)
	s := e.leasedReader(topic, group, 0)
	a := e.subscribe(s)
	held := a.takeRun(1, 5)
	a.ack(held[3], held[0], held[2])
	a.close()
	got := e.wantRising(e.subscribe(s), []string{"2", "5", "6", "7", "8"})
	if slices.Contains(got, "1") {
		e.Errorf("received %v: 1 was acknowledged, and everything before it", got)
	}
}

// wantRising receives and acknowledges until each of want has come, and fails
// when a message comes before one with a lower number.
func (e *env) wantRising(m *member, want []string) []string {
	e.Helper()
	missing := set(want)
	var got []string
	last := 0
	for len(missing) > 0 {
		msg := m.take(1)[0]
		n, err := strconv.Atoi(string(msg.Body))
		e.mustf(err, "body %q", msg.Body)
		got = append(got, string(msg.Body))
		if n <= last {
			e.Fatalf("received %v: %d comes after %d", got, n, last)
		}
		last = n
		delete(missing, string(msg.Body))
		m.ack(msg)
	}
	return got
}

func orderShardsBeside(e *env) {
	topic, group := e.topic(shards), e.group()
	keyOf := keysPerShard()
	for shard := range 2 {
		e.publish(topic, e.numbered(keyOf[shard], 1, 3)...)
	}
	a := e.subscribe(e.reader(topic, group, 0))
	b := e.subscribe(e.reader(topic, group, 1))
	held := a.takeRun(1, 3)
	b.ack(b.takeRun(1, 3)...)
	a.ack(held...)
}

// keysPerShard is one key for each shard.
func keysPerShard() [shards]string {
	var found [shards]string
	for i := range 1000 {
		key := fmt.Sprintf("key-%d", i)
		found[driver.ShardOf(key, shards)] = key
	}
	return found
}
