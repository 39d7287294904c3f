package memory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

func TestPublishersGetRoomInTheirOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, src := open(t, &memory.Options{Capacity: 1}, driver.Subscription{Topic: "t", Group: "g"})
		publish(t, b, "t", texts(0, 0)...)
		var group sync.WaitGroup
		for i := 1; i <= 5; i++ {
			group.Go(func() { publish(t, b, "t", texts(i, i)...) })
			synctest.Wait() // so that they wait in this order
		}
		for i := range 6 {
			ack(t, src, want(t, receive(t, src, 10), strconv.Itoa(i))...)
		}
		group.Wait()
	})
}

func TestCancelledPublisherGivesItsTurnAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, src := open(t, &memory.Options{Capacity: 2}, driver.Subscription{Topic: "t", Group: "g"})
		publish(t, b, "t", texts(1, 1)...)
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 2)
		go func() { errs <- b.Publish(ctx, "t", texts(2, 5)) }()
		synctest.Wait()
		go func() { errs <- b.Publish(t.Context(), "t", texts(6, 6)) }()
		synctest.Wait()
		ack(t, src, want(t, receive(t, src, 1), "1")...)
		synctest.Wait()
		cancel()
		var failed driver.BatchError
		if err := <-errs; !errors.As(err, &failed) || len(failed) != 2 || !errors.Is(failed[2], context.Canceled) || failed[3] == nil {
			t.Fatalf("Publish of 4 messages of which 2 found room: %v", err)
		}
		if !strings.Contains(failed[2].Error(), `topic "t" is full: group "g" has 2 of at most 2 messages unsettled`) {
			t.Errorf("the error is %q", failed[2])
		}
		ack(t, src, want(t, receive(t, src, 10), "2 3")...)
		must(t, <-errs)
		want(t, receive(t, src, 10), "6")
	})
}

func TestSlowestGroupHoldsUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, fast := open(t, &memory.Options{Capacity: 2}, driver.Subscription{Topic: "t", Group: "fast"})
		slow := subscribe(t, b, driver.Subscription{Topic: "t", Group: "slow", Ephemeral: true})
		publish(t, b, "t", texts(1, 2)...)
		ack(t, fast, receive(t, fast, 2)...)
		done := make(chan struct{})
		go func() { publish(t, b, "t", texts(3, 3)...); close(done) }()
		quiet(t, fast, time.Minute)
		must(t, slow.Close(t.Context())) // its group vanishes
		<-done
		want(t, receive(t, fast, 2), "3")
	})
}

func TestOverflowIsCounted(t *testing.T) {
	t.Parallel()
	b, src := open(t, &memory.Options{Capacity: 2}, driver.Subscription{Topic: "t", Group: "g"})
	ctx := driver.WithOverflow(t.Context())
	must(t, b.Publish(ctx, "t", texts(1, 5)))
	must(t, b.Publish(ctx, "t", texts(6, 6)))
	if got := statsOf(t, b, "t").Overflowed; got != 4 {
		t.Errorf("%d messages overflowed, want 4", got)
	}
	want(t, receive(t, src, 10), "1 2 3 4 5 6")
}

func TestMessagesThatAreNotDueTakeRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, src := open(t, &memory.Options{Capacity: 2}, driver.Subscription{Topic: "t", Group: "g"})
		later := texts(1, 2)
		later[0].DeliverAt, later[1].DeliverAt = time.Now().Add(time.Minute), time.Now().Add(time.Minute)
		publish(t, b, "t", later...)
		start := time.Now()
		done := make(chan struct{})
		go func() { publish(t, b, "t", texts(3, 3)...); close(done) }()
		ack(t, src, want(t, receive(t, src, 1), "1")...)
		<-done
		if took := time.Since(start); took != time.Minute {
			t.Errorf("there was room after %v, want 1m", took)
		}
	})
}

// One message wakes one waiter, and a waiter that leaves any wakes the next.
func TestWaitersAreWokenOneByOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, first := open(t, nil, driver.Subscription{Topic: "t", Group: "g"})
		got := make(chan string, 10)
		var group sync.WaitGroup
		for i, src := range []driver.Source{
			first,
			subscribe(t, b, driver.Subscription{Topic: "t", Group: "g"}),
			subscribe(t, b, driver.Subscription{Topic: "t", Group: "g"}),
		} {
			group.Go(func() { got <- fmt.Sprint(i, " has ", bodiesOf(receive(t, src, 2))) })
			synctest.Wait()
		}
		publish(t, b, "t", texts(1, 1)...)
		synctest.Wait()
		if len(got) != 1 {
			t.Errorf("%d members came back after one message, want 1", len(got))
		}
		publish(t, b, "t", texts(2, 5)...)
		group.Wait()
		close(got)
		if all := slices.Collect(chanSeq(got)); !slices.Equal(all, []string{"0 has 1", "1 has 2 3", "2 has 4 5"}) {
			t.Errorf("members received %q", all)
		}
	})
}

func chanSeq(c <-chan string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for s := range c {
			if !yield(s) {
				return
			}
		}
	}
}

func TestWokenMemberThatLeavesWakesTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, leave := range []string{"ctx", "close"} {
			b, a := open(t, nil, driver.Subscription{Topic: "t", Group: "g"})
			other := subscribe(t, b, driver.Subscription{Topic: "t", Group: "g"})
			ctx, cancel := context.WithCancel(t.Context())
			gone, got := make(chan []*driver.Message, 1), make(chan string, 1)
			go func() { msgs, _ := a.Receive(ctx, 1); gone <- msgs }()
			synctest.Wait()
			go func() { got <- bodiesOf(receive(t, other, 1)) }()
			synctest.Wait()
			publish(t, b, "t", texts(1, 1)...)
			if leave == "ctx" {
				cancel()
			} else {
				must(t, a.Close(t.Context()))
			}
			if msgs := <-gone; msgs != nil { // it was quicker: the other gets it from there
				must(t, a.Close(t.Context()))
			}
			if body := <-got; body != "1" {
				t.Errorf("%s: the other member got %q, want 1", leave, body)
			}
			cancel()
		}
	})
}

// Many publishers and members over a small topic with short leases: every
// message is settled once by each group, and nobody waits for ever.
func TestManyOfEverything(t *testing.T) {
	t.Parallel()
	for _, o := range []*memory.Options{{Capacity: 16}, {Capacity: 16, Paranoid: &memory.Paranoid{Seed: 3, Delay: 0.1, Reorder: 0.5}}} {
		const publishers, each, members = 4, 500, 3
		b := newBroker(t, o)
		_, err := b.EnsureTopic(t.Context(), driver.Topic{Name: "t", Shards: 3})
		must(t, err)
		var group sync.WaitGroup
		tally := &tally{count: map[string]int{}, left: publishers * each * 2, done: make(chan struct{})}
		for _, name := range []string{"a", "b"} {
			for range members {
				src := subscribe(t, b, driver.Subscription{Topic: "t", Group: name, Lease: 10 * time.Second})
				group.Go(func() { tally.work(t, name, src) })
			}
		}
		for p := range publishers {
			group.Go(func() {
				for i := range each {
					publish(t, b, "t", &driver.Message{Key: strconv.Itoa(i % 7), Body: fmt.Append(nil, p, "/", i)})
				}
			})
		}
		group.Wait()
		if s := statsOf(t, b, "t"); s.Messages != 0 {
			t.Errorf("%+v, want nothing left", s)
		}
		for id, n := range tally.count {
			if n != 1 {
				t.Errorf("%s was settled %d times", id, n)
			}
		}
	}
}

type tally struct {
	mu    sync.Mutex
	count map[string]int
	left  int
	done  chan struct{}
}

// work hands every fifth delivery back, and settles the others.
func (y *tally) work(t *testing.T, group string, src driver.Source) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { <-y.done; cancel() }()
	for n := 0; ; n++ {
		msgs, err := src.Receive(ctx, 1+n%4)
		if err != nil {
			return
		}
		for _, m := range msgs {
			if n%5 == 4 && m.Deliveries < 3 {
				must(t, settle(src, driver.HandBack, 0, m))
				continue
			}
			ack(t, src, m)
			y.settled(group + " " + string(m.Body))
		}
	}
}

func (y *tally) settled(id string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.count[id]++
	if y.left--; y.left == 0 {
		close(y.done)
	}
}

func TestCloseEndsWhatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, src := open(t, &memory.Options{Capacity: 1}, driver.Subscription{Topic: "t", Group: "g"})
		idle := subscribe(t, b, driver.Subscription{Topic: "t", Group: "idle"})
		late := texts(2, 2)
		late[0].DeliverAt = time.Now().Add(time.Hour)
		publish(t, b, "t", texts(1, 1)...)
		publish(t, b, "t2", late...)
		ack(t, idle, receive(t, idle, 1)...)
		held := receive(t, src, 1)
		errs := make(chan error, 3)
		go func() { errs <- b.Publish(t.Context(), "t", texts(3, 3)) }()
		go func() { _, err := idle.Receive(t.Context(), 1); errs <- err }()
		go func() {
			errs <- b.Browse(t.Context(), "t2", driver.Start{}, true, func(*driver.Message) bool { return true })
		}()
		synctest.Wait()
		must(t, b.Close(t.Context()))
		_, extendErr := src.Extend(t.Context(), []driver.Token{held[0].Token})
		_, err := b.Lag(t.Context(), "t", "g")
		for _, err := range []error{<-errs, <-errs, <-errs, settle(src, driver.Ack, 0, held...), extendErr, err, b.Ping(t.Context())} {
			if !errors.Is(err, driver.ErrClosed) {
				t.Errorf("error after Close is %v, want ErrClosed", err)
			}
		}
		must(t, src.Close(t.Context()))
		must(t, b.Close(t.Context()))
	})
}
