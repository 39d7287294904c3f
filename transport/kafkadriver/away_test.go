package kafkadriver

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

func TestAway(t *testing.T) {
	t.Parallel()
	refused := errors.New("connection refused")
	for name, test := range map[string]struct {
		silence time.Duration
		refused error
		away    bool
	}{
		"answered":               {silence: time.Second},
		"late":                   {silence: 4 * time.Second},
		"refused just now":       {silence: 2 * time.Second, refused: refused},
		"refused":                {silence: 4 * time.Second, refused: refused, away: true},
		"silent for its session": {silence: 8 * time.Second, away: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := &member{terms: terms{group: "g", beat: time.Second, session: 6 * time.Second}}
				if err := m.away(); err != nil {
					t.Errorf("before the first heartbeat: %v", err)
				}
				m.pulse.last = time.Now()
				m.pulse.OnBrokerConnect(kgo.BrokerMetadata{}, 0, nil, test.refused)
				time.Sleep(test.silence)
				err := m.away()
				if (err != nil) != test.away || test.away && !errors.Is(err, test.refused) && test.refused != nil {
					t.Errorf("away: %v", err)
				}
			})
		})
	}
}

// TestLeasesThatEndHere: what was not renewed for a lease is delivered again while
// the group still counts the member in: nobody else would.
func TestLeasesThatEndHere(t *testing.T) {
	t.Parallel()
	now := time.Now()
	src := &source{sub: driver.Subscription{Lease: time.Second}, wakes: make(chan struct{}, 1)}
	p := &partition{src: src, phase: phaseOpen}
	m := &member{parts: map[place]*partition{{topic: "t"}: p}}
	records := []*kgo.Record{{Offset: 0}, {Offset: 1}, {Offset: 2}}
	held := make([]delivery, len(records))
	for i, age := range []time.Duration{2 * time.Second, time.Second, 2 * time.Second} {
		p.handOut(&held[i], records[i], now.Add(-age))
	}
	held[1].leased = now // renewed
	m.overdue(now)
	if states := []state{held[0].state, held[1].state, held[2].state}; !slices.Equal(states, []state{stateStale, stateHeld, stateStale}) {
		t.Errorf("states %v", states)
	}
	if !slices.Equal(p.back, []*kgo.Record{records[0], records[2]}) || len(src.wakes) != 1 {
		t.Errorf("given back: %v", p.back)
	}
}
