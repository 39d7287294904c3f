package kafkadriver

import (
	"encoding/base64"
	"math/bits"
	"strings"
)

const (
	// donePrefix begins the metadata of our commits, and names its version.
	donePrefix = "aw1."
	// mostMetadata is what a broker takes with a commit by default
	// (offset.metadata.max.bytes); it refuses the whole commit with a byte more.
	mostMetadata = 4096
	// mostSpan is how many offsets above a commit the metadata can tell of: base64
	// makes four bytes of three.
	mostSpan = (mostMetadata - len(donePrefix)) / 4 * 3 * 8
)

// encodeDone is the metadata of a commit: which offsets above the committed one
// are done. Bit i of done, from the lowest of the first byte on, is the offset
// i+1 above it.
func encodeDone(done []byte) string {
	for len(done) > 0 && done[len(done)-1] == 0 {
		done = done[:len(done)-1]
	}
	if len(done) == 0 {
		return ""
	}
	return donePrefix + base64.RawStdEncoding.EncodeToString(done)
}

// decodeDone reads what [encodeDone] wrote. Metadata of somebody else, which may
// be anything, says that nothing is done.
func decodeDone(metadata string) []byte {
	text, ours := strings.CutPrefix(metadata, donePrefix)
	if !ours || len(metadata) > mostMetadata {
		return nil
	}
	done, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	return done
}

// countDone is how many offsets a done set names.
func countDone(done []byte) int64 {
	n := 0
	for _, b := range done {
		n += bits.OnesCount8(b)
	}
	return int64(n)
}

// isDone reports whether the offset n above the committed one is named.
func isDone(done []byte, n int64) bool {
	n--
	return n >= 0 && n/8 < int64(len(done)) && done[n/8]&(1<<(n%8)) != 0
}
