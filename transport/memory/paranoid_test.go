package memory_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

// paranoidRun publishes 1 to 400 to a topic of two shards in two calls, and says
// what a group receives of them, and when.
func paranoidRun(t *testing.T, p memory.Paranoid, ordered bool) (bodies []string, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, &memory.Options{Paranoid: &p})
		_, err := b.EnsureTopic(t.Context(), driver.Topic{Name: "t", Shards: 2})
		must(t, err)
		publish(t, b, "t", texts(1, 200)...)
		publish(t, b, "t", texts(201, 400)...)
		start := time.Now()
		src := subscribe(t, b, driver.Subscription{Topic: "t", Group: "g", Ordered: ordered})
		for n := 0; statsOf(t, b, "t").Messages > 0; n++ {
			for _, m := range receive(t, src, 1+n%9) {
				if m.Deliveries != 1 {
					t.Errorf("message %s was delivered %d times", m.Body, m.Deliveries)
				}
				bodies = append(bodies, fmt.Sprintf("%d:%s", m.Shard, m.Body))
				ack(t, src, m)
			}
		}
		took = time.Since(start)
		must(t, b.Close(t.Context()))
	})
	return bodies, took
}

func TestParanoidIsTheSameForASeed(t *testing.T) {
	t.Parallel()
	a, tookA := paranoidRun(t, memory.Paranoid{Seed: 5}, false)
	b, tookB := paranoidRun(t, memory.Paranoid{Seed: 5}, false)
	c, _ := paranoidRun(t, memory.Paranoid{Seed: 6}, false)
	if !slices.Equal(a, b) || tookA != tookB {
		t.Errorf("two runs of one seed differ:\n%v %v\n%v %v", tookA, a, tookB, b)
	}
	if slices.Equal(a, c) {
		t.Error("two seeds make the same choices")
	}
}

func TestParanoidLosesNothing(t *testing.T) {
	t.Parallel()
	for _, ordered := range []bool{false, true} {
		got, _ := paranoidRun(t, memory.Paranoid{Seed: 5}, ordered)
		if doubled := len(got) - len(set(got)); len(set(got)) != 400 || doubled < 5 || doubled > 60 {
			t.Errorf("ordered %v: received %d messages, %d different ones; want 400, and some twice", ordered, len(got), len(set(got)))
		}
	}
}

func set(texts []string) map[string]bool {
	s := map[string]bool{}
	for _, text := range texts {
		s[text] = true
	}
	return s
}

// shardOrder is what came from a shard, repeats left out.
func shardOrder(got []string, shard string) []string {
	var all []string
	for _, body := range slices.Compact(slices.DeleteFunc(slices.Clone(got), func(b string) bool { return !strings.HasPrefix(b, shard) })) {
		all = append(all, body[2:])
	}
	return all
}

func TestParanoidKeepsTheOrderOfOrderedShards(t *testing.T) {
	t.Parallel()
	everything := memory.Paranoid{Seed: 9, Duplicate: 0.3, Delay: 0.3, Reorder: 1}
	got, took := paranoidRun(t, everything, true)
	for shard, first := range []int{2, 1} { // in turn, from the second
		var in []string
		for i := first; i <= 400; i += 2 {
			in = append(in, strconv.Itoa(i))
		}
		if order := shardOrder(got, strconv.Itoa(shard)); !slices.Equal(order, in) {
			t.Errorf("shard %d came as %v", shard, order)
		}
	}
	if took == 0 || took > 400*memory.ParanoidDelay {
		t.Errorf("took %v, want some delays of at most %v", took, memory.ParanoidDelay)
	}
	if got, _ := paranoidRun(t, everything, false); slices.IsSortedFunc(shardOrder(got, "0"), byNumber) {
		t.Error("an unordered subscription was not reordered")
	}
}

func byNumber(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

func TestParanoidEachByItself(t *testing.T) {
	t.Parallel()
	const none = math.SmallestNonzeroFloat64
	for _, test := range []struct {
		name                      string
		p                         memory.Paranoid
		doubles, waits, reordered bool
	}{
		{"encode", memory.Paranoid{Delay: none}, false, false, false},
		{"duplicate", memory.Paranoid{Duplicate: 1}, true, false, false},
		{"delay", memory.Paranoid{Delay: 0.5}, false, true, true},
		{"reorder", memory.Paranoid{Reorder: 0.5}, false, false, true},
	} {
		got, took := paranoidRun(t, test.p, false)
		sorted := slices.IsSortedFunc(shardOrder(got, "0"), byNumber)
		if len(got) > 400 != test.doubles || took > 0 != test.waits || sorted == test.reordered {
			t.Errorf("%s: %d messages of 400 in %v, in order: %v", test.name, len(got), took, sorted)
		}
		if test.doubles && len(got) != 800 {
			t.Errorf("%s: received %d messages, want each of 400 twice", test.name, len(got))
		}
	}
}

func TestParanoidEncodes(t *testing.T) {
	t.Parallel()
	b := newBroker(t, &memory.Options{Paranoid: &memory.Paranoid{Delay: math.SmallestNonzeroFloat64}})
	if b.Capabilities().InProcess {
		t.Error("a paranoid broker declares InProcess")
	}
	err := b.Publish(t.Context(), "t", []*driver.Message{{Local: 1}})
	if err == nil || errors.Is(err, driver.ErrClosed) {
		t.Errorf("Publish of a message by reference: %v", err)
	}
	sent := texts(1, 1)
	publish(t, b, "t", sent...)
	one := receive(t, subscribe(t, b, driver.Subscription{Topic: "t", Group: "one"}), 1)
	one[0].Body[0] = 'x'
	want(t, receive(t, subscribe(t, b, driver.Subscription{Topic: "t", Group: "two"}), 1), "1")
	want(t, sent, "1")
}

func TestLagOfWhatIsHeldBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, src := open(t, &memory.Options{Paranoid: &memory.Paranoid{Delay: 1}}, driver.Subscription{Topic: "t", Group: "g"})
		publish(t, b, "t", texts(1, 3)...)
		done := make(chan int)
		go func() { done <- len(receive(t, src, 1)) }()
		synctest.Wait()
		lag, err := b.Lag(t.Context(), "t", "g")
		must(t, err)
		if lag.Waiting != 3 || lag.Pending != 0 || !lag.Oldest.Equal(time.Now()) {
			t.Errorf("lag is %+v, want 3 waiting", lag)
		}
		<-done
	})
}
