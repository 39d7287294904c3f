package envelope

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// millis reads the time from a UUIDv7.
func millis(t *testing.T, id string) time.Time {
	t.Helper()
	ms, err := strconv.ParseInt(strings.ReplaceAll(id[:13], "-", ""), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.UnixMilli(ms)
}

func TestNewIDIsUUIDv7(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	before := time.Now().Truncate(time.Millisecond)
	for range 1000 {
		id := NewID()
		if !form.MatchString(id) {
			t.Fatalf("%s is no UUIDv7", id)
		}
		if at := millis(t, id); at.Before(before) || at.After(time.Now().Add(time.Second)) {
			t.Fatalf("%s says %v", id, at)
		}
	}
}

func TestNewIDAscends(t *testing.T) {
	t.Parallel()
	const goroutines, each = 8, 5000
	all := make([][]string, goroutines)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			for range each {
				all[i] = append(all[i], NewID())
			}
		})
	}
	wg.Wait()
	for _, ids := range all {
		if !slices.IsSorted(ids) {
			t.Error("the ids of one goroutine do not ascend")
		}
	}
	together := slices.Concat(all...)
	slices.Sort(together)
	if n := len(slices.Compact(together)); n != goroutines*each {
		t.Errorf("%d different ids, want %d", n, goroutines*each)
	}
}

func TestIDsAscendWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	var source idSource
	first := formatUUID(source.next(5000))
	second := formatUUID(source.next(1000))
	if second <= first {
		t.Errorf("%s after %s", second, first)
	}
}

func TestIDsOverflowIntoTheNextMillisecond(t *testing.T) {
	t.Parallel()
	var source idSource
	last := ""
	for range 10_000 {
		id := formatUUID(source.next(5000))
		if id <= last {
			t.Fatalf("%s after %s", id, last)
		}
		last = id
	}
	if at := millis(t, last).UnixMilli(); at < 5001 || at > 5003 {
		t.Errorf("10,000 ids of millisecond 5000 end at %d", at)
	}
}

func TestAMillisecondHasRoomFor2048IDs(t *testing.T) {
	t.Parallel()
	for range 32 {
		var source idSource
		var last [16]byte
		for range 2048 {
			last = source.next(5000)
		}
		if at := millis(t, formatUUID(last)).UnixMilli(); at != 5000 {
			t.Fatalf("the 2048th id of millisecond 5000 says %d", at)
		}
	}
}

func TestNewIDInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if a, b := NewID(), NewID(); a >= b {
			t.Errorf("%s, then %s", a, b)
		}
	})
}
