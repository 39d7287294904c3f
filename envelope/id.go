package envelope

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"
)

// ids is the process's one source of ids: only one source can promise that they
// ascend.
var ids idSource //nolint:gochecknoglobals // see above; guarded by its mutex

// NewID makes a UUIDv7 in lower case. The ids of one process ascend strictly,
// also as strings, however many goroutines make them and however its clock is
// set back; two processes make the same id with a chance of 2^-62 or less.
func NewID() string {
	now := time.Now().UnixMilli()
	return formatUUID(ids.next(now))
}

// idSource makes UUIDv7s. Randomness is read in bulk, since one call of the
// kernel costs more than everything else here.
type idSource struct {
	mu sync.Mutex
	// last is the 48 bits of milliseconds and the 12 bits that follow them, as
	// one number: within a millisecond it counts, and what overflows carries
	// into the time.
	last   uint64
	random [256 * randomPerID]byte
	unread []byte
}

const randomPerID = 10

// next makes the id of a moment in milliseconds since 1970.
func (s *idSource) next(now int64) (id [16]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unread) == 0 {
		_, _ = rand.Read(s.random[:]) // never fails: it ends the program instead
		s.unread = s.random[:]
	}
	random := s.unread[:randomPerID]
	s.unread = s.unread[randomPerID:]

	// A new millisecond starts in the lower half of the counter, so that it has
	// room for at least 2048 ids.
	stamp := uint64(now)<<12 | uint64(binary.BigEndian.Uint16(random))&0x7ff
	if stamp <= s.last {
		stamp = s.last + 1
	}
	s.last = stamp

	const version, variant = 0x7 << 12, 0b10 << 62
	binary.BigEndian.PutUint64(id[:8], stamp>>12<<16|version|stamp&0xfff)
	binary.BigEndian.PutUint64(id[8:], variant|binary.BigEndian.Uint64(random[2:])>>2)
	return id
}

// formatUUID writes the 8-4-4-4-12 form.
func formatUUID(id [16]byte) string {
	var text [36]byte
	hex.Encode(text[0:8], id[0:4])
	text[8] = '-'
	hex.Encode(text[9:13], id[4:6])
	text[13] = '-'
	hex.Encode(text[14:18], id[6:8])
	text[18] = '-'
	hex.Encode(text[19:23], id[8:10])
	text[23] = '-'
	hex.Encode(text[24:36], id[10:16])
	return string(text[:])
}
