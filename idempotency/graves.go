package idempotency

import "time"

// grave tells duplicates of a message that is done, in 53 bytes. Times are in
// seconds since the store was made.
type grave struct {
	id          memoryID
	fingerprint memoryID // its first half
	token       [8]byte  // its first half
	expires     uint32
	added       uint32
	took        uint32 // milliseconds
	empty       bool   // the record is still open: this is its place in the order
}

func (g *grave) verdict(c *Claim) Verdict {
	if g.fingerprint != memoryID(c.Fingerprint[:16]) {
		v := Verdict{State: Mismatch}
		copy(v.Fingerprint[:], g.fingerprint[:])
		return v
	}
	return Verdict{State: Done, Took: time.Duration(g.took) * time.Millisecond}
}

// graves is first in, first out, in chunks: growing it copies nothing, and what
// it holds is nothing that the garbage collector looks at. Places are numbers that
// go round.
type graves struct {
	chunks []*[gravesChunk]grave
	offset uint32 // place of the first grave of the first chunk
	first  uint32 // place of the oldest
	end    uint32 // place of the next
}

const gravesChunk = 256

func (q *graves) push(g grave) (place uint32) {
	if q.end-q.offset == uint32(len(q.chunks)*gravesChunk) {
		q.chunks = append(q.chunks, new([gravesChunk]grave))
	}
	place = q.end
	q.end++
	*q.at(place) = g
	return place
}

func (q *graves) at(place uint32) *grave {
	n := place - q.offset
	return &q.chunks[n/gravesChunk][n%gravesChunk]
}

// len counts the places that are left, too.
func (q *graves) len() int { return int(q.end - q.first) }

// oldest is nil where there is none.
func (q *graves) oldest() *grave {
	if q.first == q.end {
		return nil
	}
	return q.at(q.first)
}

func (q *graves) pop() {
	q.first++
	if q.first-q.offset == gravesChunk {
		q.chunks[0] = nil
		q.chunks = q.chunks[1:]
		q.offset += gravesChunk
	}
}
