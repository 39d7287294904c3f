package driver

import (
	"strconv"
	"testing"
)

// The hashes are those that the Java client gives, so that every language lands
// on the same shard.
func TestMurmur2AgreesWithJava(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(murmur2(key)); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
		for _, n := range []int{1, 2, 3, 12, 1000} {
			if got := ShardOf(key, n); got != int(want&0x7fffffff)%n {
				t.Errorf("ShardOf(%q, %d) = %d", key, n, got)
			}
		}
	}
}

func TestShardOfFewShards(t *testing.T) {
	t.Parallel()
	for _, n := range []int{-1, 0, 1} {
		if got := ShardOf("key", n); got != 0 {
			t.Errorf("ShardOf(key, %d) = %d, want 0", n, got)
		}
	}
}

func TestShardsAreUsedEvenly(t *testing.T) {
	t.Parallel()
	const shards, keys = 8, 8000
	var counts [shards]int
	for i := range keys {
		counts[ShardOf("key-"+strconv.Itoa(i), shards)]++
	}
	for shard, n := range counts {
		if n < keys/shards*3/4 || n > keys/shards*5/4 {
			t.Errorf("shard %d has %d of %d keys", shard, n, keys)
		}
	}
}
