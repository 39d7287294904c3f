package kafkadriver

import (
	"encoding/binary"
	"math/bits"
)

// offsets knows what is done of one partition, in whatever order it was. The
// broker keeps the prefix, base, and the commit's metadata what is done above it.
//
// Offsets that no record has (markers of transactions, what compaction removed)
// count as done once a later record came.
type offsets struct {
	base  int64    // everything below is done
	head  int64    // everything below was delivered, or is done
	top   int64    // nothing from here on is done
	limit int64    // how far above base what is delivered may lie
	ring  []uint64 // a bit for each offset from base on that is done
}

const wordBits = 64

// newOffsets begins at a committed offset with its done set.
func newOffsets(base int64, done []byte, limit int64) offsets {
	span := max(limit, int64(8*len(done))+1)
	o := offsets{base: base, head: base, top: base, limit: limit, ring: make([]uint64, span/wordBits+3)}
	for i, b := range done {
		for ; b != 0; b &= b - 1 {
			o.mark(base + 1 + int64(8*i+bits.TrailingZeros8(b)))
		}
	}
	return o
}

// room reports whether the record at n may be delivered: further than limit above
// base only where nothing is unsettled.
func (o *offsets) room(n int64) bool { return n-o.base < o.limit || o.idle() }

// idle reports whether nothing that was delivered is unsettled.
func (o *offsets) idle() bool { return o.base == o.head }

// take notes that the record at n was reached, and reports whether it is to be
// delivered. Records are taken in their order, if there is room.
func (o *offsets) take(n int64) bool {
	if n < o.head {
		return false
	}
	if o.idle() {
		o.jump(n)
	}
	for ; o.head < n; o.head++ {
		o.mark(o.head)
	}
	if o.has(n) {
		o.head = n + 1
		o.advance()
		return false
	}
	o.head = n + 1
	return true
}

// jump moves base to n over offsets that no record has.
func (o *offsets) jump(n int64) {
	for at := o.base; at < min(n, o.top); at++ {
		o.clear(at)
	}
	o.base, o.head, o.top = n, n, max(n, o.top)
}

// finish notes that the record at n is done.
func (o *offsets) finish(n int64) {
	if n < o.base {
		return
	}
	o.mark(n)
	o.advance()
}

func (o *offsets) advance() {
	for o.base < o.top && o.has(o.base) {
		o.clear(o.base)
		o.base++
	}
	o.head = max(o.head, o.base)
}

// done is the set above base, for [encodeDone].
func (o *offsets) done() []byte {
	if o.top <= o.base+1 {
		return nil
	}
	done := make([]byte, 0, (o.top-o.base)/8+8)
	for at := o.base + 1; at < o.top; at += wordBits {
		done = binary.LittleEndian.AppendUint64(done, o.word(at))
	}
	return done
}

// word is the 64 bits from at on.
func (o *offsets) word(at int64) uint64 {
	n, shift := int64(len(o.ring)), at%wordBits
	word := o.ring[at/wordBits%n] >> shift
	if shift > 0 {
		word |= o.ring[(at/wordBits+1)%n] << (wordBits - shift)
	}
	return word
}

func (o *offsets) has(n int64) bool {
	return n < o.top && o.ring[n/wordBits%int64(len(o.ring))]&(1<<(n%wordBits)) != 0
}

func (o *offsets) mark(n int64) {
	o.ring[n/wordBits%int64(len(o.ring))] |= 1 << (n % wordBits)
	o.top = max(o.top, n+1)
}

func (o *offsets) clear(n int64) { o.ring[n/wordBits%int64(len(o.ring))] &^= 1 << (n % wordBits) }
