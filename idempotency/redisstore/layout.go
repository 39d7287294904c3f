package redisstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/anywire/anywire/idempotency"
)

// A record is one string, which the scripts read and write. All numbers are big
// endian.
//
//	 1 version            52  6 lease, ms           a tombstone:
//	 2 phase              58  6 time to live, ms     1 version
//	 3 16 token           64  4 attempts             2 phase 4
//	19 32 fingerprint     68  4 deaths               3  8 token, its first half
//	51 alone              72  4 of them alone       11  8 took, ns
//	                      76  4 redrive             19 16 fingerprint, its first half
//	                      80  8 took, ns; of a failed record where its failure begins
//
// From 88 on there are the results of steps, name and value behind their lengths of
// four bytes each, and the failure behind them; or the outputs. With phase 6 these
// are in a key of their own, whose name ends with ":o". A lease ends when the time
// to live has left as much as it exceeds the lease: so the server's clock, which
// ends the one, ends the other, and nobody has to ask for it.
const (
	recordVersion = 1
	inProgress    = 1
	settled       = 4

	headerSize    = 87
	tombstoneHead = 18
)

// The letters of a change in the script; a tombstone has none.
const (
	opExtend  = 'X'
	opStep    = 'S'
	opOutputs = 'O'
	opBeside  = 'L'
	opSettle  = 'T'
	opRelease = 'R'
	opFail    = 'F'
)

// milliseconds rounds up: no lease is shorter than was asked for.
func milliseconds(d time.Duration) uint64 {
	return uint64(max((d+time.Millisecond-1)/time.Millisecond, 1))
}

// writer collects what a script is given in one string.
type writer struct {
	strings.Builder

	scratch [8]byte
}

func (w *writer) number(n uint64, size int) {
	binary.BigEndian.PutUint64(w.scratch[:], n)
	w.Write(w.scratch[8-size:])
}

func (w *writer) text(s string) {
	w.number(uint64(len(s)), 4)
	w.WriteString(s)
}

func (w *writer) times(lease, ttl time.Duration) {
	w.number(milliseconds(lease), 6)
	w.number(milliseconds(ttl), 6)
}

// fresh is the record that a claim makes of a message that is new.
func (w *writer) fresh(c *idempotency.Claim) {
	w.WriteByte(recordVersion)
	w.WriteByte(inProgress)
	w.Write(c.Token[:])
	w.Write(c.Fingerprint[:])
	alone := uint64(0)
	if c.Alone {
		alone = 1
	}
	w.number(alone, 1)
	w.times(c.Lease, c.TTL)
	w.number(0, 4)
	w.number(0, 4)
	w.number(0, 4)
	w.number(uint64(max(c.Redrive, 0)), 4)
	w.number(0, 8)
}

// held is how a record begins that a token holds.
func (w *writer) held(t idempotency.Token) {
	w.WriteByte(recordVersion)
	w.WriteByte(inProgress)
	w.Write(t[:])
}

// tombstone is one without its fingerprint, which the script adds.
func (w *writer) tombstone(c *idempotency.Change) {
	w.WriteByte(recordVersion)
	w.WriteByte(settled)
	w.Write(c.Token[:len(c.Token)/2])
	w.number(uint64(c.Took), 8)
}

var errShort = errors.New("it ends too early")

// reader takes what a script answered apart. After an error it gives zero values.
type reader struct {
	rest string
	err  error
}

func (r *reader) bytes(n uint64) string {
	if r.err == nil && n > uint64(len(r.rest)) {
		r.err = errShort
	}
	if r.err != nil {
		return ""
	}
	part := r.rest[:n]
	r.rest = r.rest[n:]
	return part
}

func (r *reader) number(size int) uint64 {
	var word [8]byte
	copy(word[8-size:], r.bytes(uint64(size)))
	return binary.BigEndian.Uint64(word[:])
}

func (r *reader) text() string { return r.bytes(r.number(4)) }

// unreadable is the error of a record that is damaged, or of another program.
func unreadable(key string, err error) error {
	return fmt.Errorf("record %q: %w: %w", key, err, idempotency.ErrUnreadable)
}
