package memory

import (
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// ParanoidDelay is the longest time for which the paranoid mode holds a message
// back.
const ParanoidDelay = 20 * time.Millisecond

// Defaults of [Paranoid].
const (
	defaultDuplicate = 0.05
	defaultDelay     = 0.05
	defaultReorder   = 0.2
)

// paranoia decides by hashing the place of a message, so that choices do not
// depend on the order in which goroutines run.
type paranoia struct {
	on                        bool
	seed                      uint64
	duplicate, delay, reorder float64
}

func newParanoia(p *Paranoid) paranoia {
	if p == nil {
		return paranoia{}
	}
	if p.Duplicate == 0 && p.Delay == 0 && p.Reorder == 0 {
		return paranoia{true, p.Seed, defaultDuplicate, defaultDelay, defaultReorder}
	}
	return paranoia{true, p.Seed, p.Duplicate, p.Delay, p.Reorder}
}

// What a roll is for.
const (
	forDuplicate = iota + 1
	forDelay
	forDelayLength
	forReorder
	forReorderPlace
)

// roll is a number from 0 up to 1 that looks random.
func roll(purpose, hash uint64, shard int, seq uint64) float64 {
	x := mix(hash ^ mix(purpose))
	x = mix(x ^ mix(uint64(shard)))
	return float64(mix(x^seq)>>11) / (1 << 53)
}

// mix is the finaliser of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func hashName(seed uint64, name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	return mix(seed ^ h.Sum64())
}

func (p *paranoia) duplicates(topic uint64, shard int, seq uint64) bool {
	return p.on && roll(forDuplicate, topic, shard, seq) < p.duplicate
}

// delays is for how long the group does not get the message; 0: it does.
func (p *paranoia) delays(group uint64, shard int, seq uint64) time.Duration {
	if roll(forDelay, group, shard, seq) >= p.delay {
		return 0
	}
	part := roll(forDelayLength, group, shard, seq)
	return time.Duration(math.Ceil(part * float64(ParanoidDelay)))
}

// shuffle lets messages change places with earlier ones.
func (p *paranoia) shuffle(topic uint64, batch []*driver.Message) {
	for i := 1; i < len(batch); i++ {
		m := batch[i]
		if roll(forReorder, topic, m.Shard, m.Seq) < p.reorder {
			j := int(roll(forReorderPlace, topic, m.Shard, m.Seq) * float64(i))
			batch[i], batch[j] = batch[j], batch[i]
		}
	}
}

// heldBack decides whether the next message of p waits before its first
// delivery: by itself, or, where the source is ordered, with all of its shard.
func (s *source) heldBack(p *part, now int64) bool {
	g := s.group
	p.mark.live(p.shard)
	seq := p.mark.chunk.seq(p.mark.i)
	if p.passed == seq {
		return false
	}
	wait := g.topic.broker.paranoia.delays(g.hash, p.shard.index, seq)
	if wait == 0 {
		return false
	}
	if s.ordered {
		p.hold, p.passed = now+int64(wait), seq
		g.topic.arm(p.hold)
		return true
	}
	c, i := p.take(p.shard)
	g.delay(&delivery{chunk: c, index: uint8(i), state: returned}, wait)
	return true
}

func refuseLocal(topic string, msgs []*driver.Message) error {
	for i, m := range msgs {
		if m.Local != nil {
			return fmt.Errorf("topic %q: message %d is a %T by reference: the paranoid mode takes headers and bytes only", topic, i, m.Local)
		}
	}
	return nil
}
