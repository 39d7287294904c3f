package redisdriver

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// browse are the bodies that a browse sees.
func browse(tb testing.TB, d *Driver, topic string, start driver.Start) []string {
	tb.Helper()
	var seen []string
	err := d.Browse(patience(tb), topic, start, false, func(m *driver.Message) bool {
		seen = append(seen, string(m.Body))
		return true
	})
	if err != nil {
		tb.Fatal(err)
	}
	return seen
}

func TestBrowsePages(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, nil)
	for _, n := range []int{browsePage - 1, browsePage, browsePage + 1, 3 * browsePage} {
		topic := unique(t)
		var want []string
		for i := range n {
			want = append(want, strconv.Itoa(i))
		}
		publish(t, d, topic, want...)
		if got := browse(t, d, topic, driver.Start{}); !slices.Equal(got, want) {
			t.Errorf("saw %d messages of %d", len(got), n)
		}
	}
}

func TestBrowseStarts(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, nil)
	topic := unique(t)
	for i, id := range []string{"1000-0", "1000-1", "2000-0", "3000-7"} {
		if err := d.client.XAdd(t.Context(), &redis.XAddArgs{Stream: topic, ID: id, Values: []string{"data", strconv.Itoa(i)}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		start driver.Start
		want  []string
	}{
		{driver.Start{}, []string{"0", "1", "2", "3"}},
		{driver.Start{At: driver.StartNow}, nil},
		{driver.Start{At: driver.StartTime, Time: time.UnixMilli(2000)}, []string{"2", "3"}},
		{driver.Start{At: driver.StartTime, Time: time.UnixMilli(4000)}, nil},
		{driver.Start{At: driver.StartTime}, []string{"0", "1", "2", "3"}},
	} {
		if got := browse(t, d, topic, c.start); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.start, got, c.want)
		}
	}
}

func TestBrowseFollowsFromNow(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, nil)
	topic := unique(t)
	ensureTopic(t, d, driver.Topic{Name: topic, Shards: 2})
	if err := d.Publish(t.Context(), topic, keyed("a", "b", "c", "d")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(patience(t))
	seen, done := make(chan *driver.Message, 100), make(chan error, 1)
	go func() {
		done <- d.Browse(ctx, topic, driver.Start{At: driver.StartNow}, true, func(m *driver.Message) bool {
			seen <- m
			return true
		})
	}()
	var m *driver.Message
	for m == nil { // until the browse has begun
		publish(t, d, topic, "new")
		select {
		case m = <-seen:
		case <-time.After(20 * time.Millisecond):
		}
	}
	if string(m.Body) != "new" || m.Published.IsZero() || m.Seq == 0 || m.Position == "" {
		t.Errorf("saw %+v", m)
	}
	cancel()
	if err := wait(t, done); !errors.Is(err, context.Canceled) {
		t.Errorf("Browse whose ctx ended: %v", err)
	}
}

func TestLagWhereEntriesWereDeleted(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, nil)
	ctx, topic := t.Context(), unique(t)
	var ids []string
	entries, err := d.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for range 3*countPage + 10 {
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: topic, Values: []string{"data", "x"}})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		ids = append(ids, e.(*redis.StringCmd).Val())
	}
	if err := errors.Join(
		d.client.XGroupCreate(ctx, topic, "group", ids[4]).Err(), d.client.XDel(ctx, topic, ids[100], ids[200]).Err(),
	); err != nil {
		t.Fatal(err)
	}
	lag, err := d.Lag(ctx, topic, "group")
	if err != nil || lag.Waiting != int64(len(ids)-5-2) || lag.Pending != 0 || !lag.Oldest.Equal(publishedAt(ids[5])) {
		t.Errorf("lag %+v, %v; want %d waiting", lag, err, len(ids)-5-2)
	}
	if _, err := d.Lag(ctx, topic, "other"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("lag of a missing group: %v", err)
	}
	if _, err := d.Lag(ctx, unique(t), "group"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("lag on a missing topic: %v", err)
	}
}
