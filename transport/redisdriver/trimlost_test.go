package redisdriver

import (
	"strconv"
	"testing"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// TestTrimWaitsForADeletedGroup has somebody delete a group while its members are
// away: others trim meanwhile, and it must find what it had not settled.
func TestTrimWaitsForADeletedGroup(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	aged(t, d, topic, agedEntries)
	s := sub(topic)
	s.Group = "other"
	other := subscribe(t, d, s)
	settle(t, other, driver.Ack, take(t, other, agedEntries+1)...)
	src := subscribe(t, d, sub(topic))
	settle(t, src, driver.Ack, take(t, src, 500)...)
	beat(t, src)
	closeSource(t, src)
	if err := d.client.XGroupDestroy(t.Context(), topic, "group").Err(); err != nil {
		t.Fatal(err)
	}
	meta := topicMeta{retentionAge: time.Hour}
	if n := trimmedTo(t, d, other, meta); n < agedEntries+1-500 {
		t.Fatalf("%d entries are left, want the %d that the deleted group had not settled", n, agedEntries+1-500)
	}
	src = subscribe(t, d, sub(topic))
	if m := take(t, src, 1); string(m[0].Body) != "500" {
		t.Errorf("the group goes on with %s, want 500", m[0].Body)
	}
	closeSource(t, src)
	if err := d.client.XGroupDestroy(t.Context(), topic, "group").Err(); err != nil {
		t.Fatal(err)
	}
	ago := time.Now().Add(-2 * DefaultGroupExpiry).UnixMilli()
	record := strconv.FormatInt(ago, 10) + " 0-0 0 0"
	if err := d.client.HSet(t.Context(), companion(topic, "groups"), "group", record).Err(); err != nil {
		t.Fatal(err)
	}
	if n := trimmedTo(t, d, other, meta); n > node+1 {
		t.Errorf("%d entries are left, want nearly none: nobody has seen the deleted group for so long", n)
	}
}
