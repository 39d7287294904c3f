package drivertest

import (
	"context"

	"github.com/anywire/anywire/transport/driver"
)

// receipt is one delivery and who got it.
type receipt struct {
	msg *driver.Message
	by  *member
}

// moved says whether the broker took the message's shard away from who got it.
func (r receipt) moved() bool {
	select {
	case <-r.msg.Revoked: // nil: it does not move
		return true
	default:
		return false
	}
}

// alternate lets members receive and acknowledge in turn until each of want has
// come to one of them. It returns the receipts by body.
func (e *env) alternate(want []string, members ...*member) map[string][]receipt {
	e.Helper()
	got := map[string][]receipt{}
	missing := set(want)
	e.eventually("every message comes to a member", func(ctx context.Context) bool {
		for _, m := range members {
			for _, msg := range m.offer(ctx) {
				body := string(msg.Body)
				got[body] = append(got[body], receipt{msg: msg, by: m})
				delete(missing, body)
			}
		}
		return len(missing) == 0
	})
	return got
}

// offer receives and acknowledges once, if something comes soon.
func (m *member) offer(ctx context.Context) []*driver.Message {
	m.Helper()
	soon, cancel := context.WithTimeout(ctx, m.h.Quiet)
	defer cancel()
	msgs, _ := m.receive(soon, m.window)
	m.ack(msgs...)
	return msgs
}
