package redisdriver

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// seqBits are the bits of a message's Seq that tell entries of one millisecond
// apart.
const seqBits = 20

// splitID takes the id of an entry apart: milliseconds, and a counter within
// them.
func splitID(id string) (ms, n uint64, ok bool) {
	before, after, _ := strings.Cut(id, "-")
	ms, err := strconv.ParseUint(before, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	n, err = strconv.ParseUint(after, 10, 64)
	return ms, n, err == nil
}

// seqOf is a number that rises with the id; zero where a stranger chose an id
// that does not fit.
func seqOf(id string) uint64 {
	ms, n, ok := splitID(id)
	if !ok || ms >= 1<<(64-seqBits) || n >= 1<<seqBits {
		return 0
	}
	return ms<<seqBits | n
}

// publishedAt is the server's time when it took the entry.
func publishedAt(id string) time.Time {
	ms, _, ok := splitID(id)
	if !ok || ms > math.MaxInt64/1000 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms))
}

// position names an entry within its topic: its id, after the shard where there
// are several.
func position(id string, shard, shards int) string {
	if shards <= 1 {
		return id
	}
	return strconv.Itoa(shard) + "/" + id
}
