package kafkadriver

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

var counter atomic.Uint64

// unique is a name that no other test uses, also on a broker that outlives this
// process.
func unique(tb testing.TB) string {
	tb.Helper()
	name := strings.Map(func(r rune) rune {
		if validName(string(r)) != nil {
			return '-'
		}
		return r
	}, tb.Name())
	return fmt.Sprintf("%.80s-%x-%d", strings.ToLower(name), time.Now().UnixNano(), counter.Add(1))
}

// shared opens a driver on the broker that tests share.
func shared(tb testing.TB) *Driver {
	tb.Helper()
	d, _ := open(tb, brokertest.SharedKafka(tb).Addrs, nil)
	return d
}

// patience bounds what must happen.
func patience(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 60*time.Second)
	tb.Cleanup(cancel)
	return ctx
}

func topicOf(tb testing.TB, d *Driver, shards int) string {
	tb.Helper()
	name := unique(tb)
	if _, err := d.EnsureTopic(tb.Context(), driver.Topic{Name: name, Shards: shards}); err != nil {
		tb.Fatal(err)
	}
	return name
}

// seen browses a topic to its end.
func seen(tb testing.TB, d *Driver, topic string) []*driver.Message {
	tb.Helper()
	var msgs []*driver.Message
	err := d.Browse(patience(tb), topic, driver.Start{}, false, func(m *driver.Message) bool {
		msgs = append(msgs, m)
		return true
	})
	if err != nil {
		tb.Fatal(err)
	}
	return msgs
}

func textsOf(msgs []*driver.Message) []string {
	list := make([]string, 0, len(msgs))
	for _, m := range msgs {
		list = append(list, string(m.Body))
	}
	return list
}

// deleteBefore removes what stands before an offset of partition 0.
func deleteBefore(tb testing.TB, d *Driver, topic string, offset int64) {
	tb.Helper()
	before := kadm.Offsets{}
	before.AddOffset(topic, 0, offset, -1)
	answers, err := d.adm.DeleteRecords(tb.Context(), before)
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func valueOf(d time.Duration) value.Duration { return value.Duration(d) }
