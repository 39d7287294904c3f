package natsdriver

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	pullExpires   = 30 * time.Second
	pullHeartbeat = 5 * time.Second
)

// inbox is where pulls are answered. Dropping it withdraws them: the server
// passes over a pull that nobody listens for.
type inbox struct {
	ch      chan *nats.Msg
	sub     *nats.Subscription
	subject string
	asked   int // messages that pulls are open for
	heard   time.Time
	losses  uint64 // of the connection, before it was opened
}

// silent reports that pulls are open and the server keeps quiet about them.
func (b *inbox) silent(now time.Time) bool {
	return b.asked > 0 && now.Sub(b.heard) > 2*pullHeartbeat+time.Second
}

// pull keeps pulls open for limit messages. A new one is sent when half of them
// is used up, so that the server always has one.
func (s *source) pull(ctx context.Context, limit int) error {
	if err := s.openInbox(); err != nil {
		return err
	}
	if s.hidden {
		if err := s.askPin(ctx); err != nil {
			return err
		}
	}
	want := min(limit, cap(s.in.ch)/2) - s.in.asked
	if want <= 0 || s.in.asked > 0 && want < (s.sub.Window+1)/2 {
		return nil
	}
	if s.pinned && s.pin == "" && s.in.asked > 0 {
		return nil // a second pull without a pin would wait behind the first
	}
	return s.ask(ctx, want)
}

func (s *source) ask(ctx context.Context, n int) error {
	now := s.d.link.now()
	if now.closed {
		return wrap(nats.ErrConnectionClosed)
	}
	if !now.connected {
		return s.awaitLink(ctx, now)
	}
	request := make([]byte, 0, 160)
	request = append(request, `{"expires":`...)
	request = strconv.AppendInt(request, int64(pullExpires), 10)
	request = append(request, `,"idle_heartbeat":`...)
	request = strconv.AppendInt(request, int64(pullHeartbeat), 10)
	request = append(request, `,"batch":`...)
	request = strconv.AppendInt(request, int64(n), 10)
	if s.pinned {
		request = append(request, `,"group":"`+pinGroup+`"`...)
		if s.pin != "" {
			request = append(request, `,"id":"`+s.pin+`"`...)
		}
	}
	request = append(request, '}')
	if err := s.d.nc.PublishRequest(s.d.apiPrefix()+"CONSUMER.MSG.NEXT."+s.stream+"."+s.consumer, s.in.subject, request); err != nil {
		return wrap(err)
	}
	if s.in.asked == 0 {
		s.in.heard = time.Now()
	}
	s.told = false
	s.in.asked += n
	return nil
}

// apiPrefix is where JetStream listens; the client keeps its own to itself.
func (d *Driver) apiPrefix() string {
	if d.o.Domain == "" {
		return jetstream.DefaultAPIPrefix
	}
	return "$JS." + d.o.Domain + ".API."
}

// awaitLink says that there is no connection: at once when that is news, and
// every few seconds.
func (s *source) awaitLink(ctx context.Context, now state) error {
	if s.told {
		select {
		case <-now.changed:
			return nil
		case <-time.After(5 * time.Second):
		case <-ctx.Done():
			return nil
		case <-s.done:
			return nil
		}
	}
	s.told = true
	return errDisconnected
}

// openInbox subscribes, unless that is done.
func (s *source) openInbox() error {
	if s.in.sub != nil {
		return nil
	}
	now := time.Now()
	ch := make(chan *nats.Msg, 2*max(s.sub.Window, 32)+64)
	losses, subject := s.d.link.losses.Load(), s.d.nc.NewInbox()
	sub, err := s.d.nc.ChanSubscribe(subject, ch)
	if err != nil {
		return wrap(err)
	}
	s.in = inbox{ch: ch, sub: sub, subject: subject, heard: now, losses: losses}
	s.seen, s.empty = now, now
	return nil
}

// closeInbox withdraws the pulls. What the server sent before it heard of that
// arrives, if there is a connection.
func (s *source) closeInbox(ctx context.Context) {
	if s.in.sub == nil {
		return
	}
	if s.d.nc.IsConnected() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.in.sub.Drain()
		_ = s.d.nc.FlushWithContext(ctx)
	} else {
		_ = s.in.sub.Unsubscribe()
	}
	for {
		select {
		case m := <-s.in.ch:
			s.accept(m)
			continue
		default:
		}
		s.in = inbox{}
		return
	}
}

// renew begins anew after the connection was lost, or its server: open pulls are
// forgotten, and deliveries may have gone astray.
func (s *source) renew(ctx context.Context) {
	s.closeInbox(ctx)
	s.upset, s.taken, s.asserted = false, false, false
}

// park withdraws the pulls of a source that nobody receives from, and gives back
// what came meanwhile. An ordered source keeps it: nobody else reads its shard.
func (s *source) park() {
	if !s.recv.TryLock() {
		return
	}
	defer s.recv.Unlock()
	if s.closed() {
		return // Close does it
	}
	ctx, cancel := context.WithTimeout(context.Background(), confirmTimeout)
	defer cancel()
	s.closeInbox(ctx)
	if s.shard >= 0 || len(s.ready) == 0 {
		return
	}
	_ = s.giveBack(ctx, s.ready) // else their leases end
	clear(s.ready)
	s.ready = s.ready[:0]
}

// status reads what the server says about a pull.
func (s *source) status(m *nats.Msg) {
	text := m.Header.Get("Description")
	switch m.Header.Get("Status") {
	case "100":
		return
	case "408", "404":
		s.end(m)
	case "423":
		s.lostPin()
	case "409":
		if strings.Contains(text, "Deleted") {
			s.gone = true
			return
		}
		s.upset = true
		s.report = fmt.Errorf("NATS ended a pull: %s", text)
	case "503":
		s.gone = true
	default:
		s.upset = true
		s.report = fmt.Errorf("NATS refused a pull: %s %s", m.Header.Get("Status"), text)
	}
}

// end counts what a pull was not used for.
func (s *source) end(m *nats.Msg) {
	n, ok := number(m.Header.Get("Nats-Pending-Messages"))
	if !ok {
		s.upset = true
		return
	}
	s.in.asked = max(s.in.asked-int(n), 0)
}
