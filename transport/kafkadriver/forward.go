package kafkadriver

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

const (
	forwardBackoff = time.Second
	// closeBy is how long a copy waits beyond its rung rather than hop once more.
	closeBy = 250 * time.Millisecond
	// sickFor is how long a topic that refused a message is not tried again.
	sickFor = 30 * time.Second
)

// forwarder moves what is due in one rung. Its fields belong to the goroutine
// that runs it, except for interrupt.
type forwarder struct {
	l     *ladder
	d     *Driver
	rung  rung
	topic string
	src   driver.Source
	held  []held
	done  []driver.Settlement  // that the broker has not confirmed yet
	sick  map[string]time.Time // topics that refuse, until when
	ill   bool                 // nothing can be moved, and it was said
	seen  map[<-chan struct{}]bool
	trim  trimmer

	mu        sync.Mutex
	interrupt context.CancelFunc // of a Receive
}

// held is a copy that waits for its time.
type held struct {
	m    *driver.Message
	to   string
	at   time.Time // when it should arrive
	due  time.Time // when it leaves this rung
	gone bool      // settled, or another's
}

// run subscribes until ctx ends.
func (f *forwarder) run(ctx context.Context) {
	for ctx.Err() == nil {
		src, err := f.subscribe(ctx)
		if err == nil {
			f.src, f.held, f.done, f.seen = src, nil, nil, map[<-chan struct{}]bool{}
			err = f.forward(ctx)
			f.leave(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		f.complain(err)
		pause(ctx, forwardBackoff)
	}
}

// subscribe joins the rung; one that somebody deleted is made anew.
func (f *forwarder) subscribe(ctx context.Context) (driver.Source, error) {
	f.d.topics.forget(f.topic)
	if _, err := f.l.ensure(ctx, f.topic); err != nil {
		return nil, err
	}
	return f.d.Subscribe(ctx, f.l.subscription(f.topic))
}

func (f *forwarder) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	_ = f.src.Close(ctx) // what was not settled goes to another member
}

// complain says once that the rung stands still.
func (f *forwarder) complain(err error) {
	if err != nil && !f.ill {
		f.ill = true
		f.d.log.Error("delayed messages stand still: trying again for ever", "topic", f.topic, "error", err)
	}
}

func (f *forwarder) recovered() {
	if f.ill {
		f.ill = false
		f.d.log.Info("delayed messages move again", "topic", f.topic)
	}
}

// forward takes copies in and moves those that are due, until ctx ends or the
// source is lost.
func (f *forwarder) forward(ctx context.Context) error {
	var watchers sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	defer watchers.Wait()
	defer stop()
	for {
		if err := f.take(ctx, &watchers); err != nil || ctx.Err() != nil {
			return err
		}
		f.handBack(ctx)
		f.move(ctx)
		if err := f.settle(ctx); err != nil {
			return err
		}
		f.trim.maybe(ctx, f)
	}
}

// take receives until something is due.
func (f *forwarder) take(ctx context.Context, watchers *sync.WaitGroup) error {
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	if due, some := f.next(); some {
		wait, cancel = context.WithDeadline(ctx, due)
		defer cancel()
	}
	f.mu.Lock()
	f.interrupt = cancel
	f.mu.Unlock()
	if len(f.held) >= forwardWindow || f.anyRevoked() {
		if !f.anyRevoked() {
			<-wait.Done()
		}
		return nil
	}
	msgs, err := f.src.Receive(wait, forwardWindow-len(f.held))
	for _, m := range msgs {
		f.hold(m)
		f.watch(ctx, m.Revoked, watchers)
	}
	if err == nil || wait.Err() != nil {
		f.recovered()
		return nil
	}
	if errors.Is(err, driver.ErrClosed) || errors.Is(err, driver.ErrStale) || errors.Is(err, driver.ErrDenied) {
		return err
	}
	f.complain(err)
	pause(ctx, forwardBackoff)
	return nil
}

// watch interrupts Receive when the shard of a message moves, since the member
// that gets it waits for us.
func (f *forwarder) watch(ctx context.Context, revoked <-chan struct{}, watchers *sync.WaitGroup) {
	if revoked == nil || f.seen[revoked] {
		return
	}
	f.seen[revoked] = true
	watchers.Go(func() {
		select {
		case <-ctx.Done():
		case <-revoked:
			f.mu.Lock()
			defer f.mu.Unlock()
			f.interrupt()
		}
	})
}

// hold works out when a copy leaves: when it is due, or when its rung is over.
func (f *forwarder) hold(m *driver.Message) {
	h := held{m: m}
	at, to, err := destination(m)
	if err != nil {
		f.d.log.Error("a delayed copy does not say where to: it is parked", "topic", f.topic,
			"position", m.Position, "parked_in", f.d.o.System+ladderName(parked), "error", err)
	} else {
		h.to, h.at, h.due = to, at, at
		over := m.Published.Add(f.rung.wait)
		// What was due before it came here makes a detour.
		if over.Before(at.Add(-closeBy)) || at.Before(m.Published) && f.rung != rungs()[0] {
			h.due = over
		}
	}
	f.held = append(f.held, h)
}

// next is when the first copy leaves.
func (f *forwarder) next() (due time.Time, some bool) {
	for _, h := range f.held {
		if !some || h.due.Before(due) {
			due, some = h.due, true
		}
	}
	return due, some
}

func (f *forwarder) anyRevoked() bool {
	return slices.ContainsFunc(f.held, func(h held) bool { return hasMoved(h.m) })
}

func hasMoved(m *driver.Message) bool {
	select {
	case <-m.Revoked:
		return true
	default:
		return false
	}
}

// handBack gives up copies whose shard moves.
func (f *forwarder) handBack(ctx context.Context) {
	var back []driver.Settlement
	for i := range f.held {
		if hasMoved(f.held[i].m) {
			back = append(back, driver.Settlement{Token: f.held[i].m.Token, Outcome: driver.HandBack})
			f.held[i].gone = true
		}
	}
	if len(back) > 0 {
		_ = f.src.Settle(ctx, back) // the shard is another's in any case
	}
	f.forget()
}

func (f *forwarder) forget() {
	f.held = slices.DeleteFunc(f.held, func(h held) bool { return h.gone })
}

// move publishes what is due: to its topic, or to the next rung. What cannot be
// delivered goes round by another rung, so that it is neither lost nor in the way
// of others.
func (f *forwarder) move(ctx context.Context) {
	now := time.Now()
	var batch []*held
	for i := range f.held {
		if h := &f.held[i]; !h.due.After(now) {
			batch = append(batch, h)
		}
	}
	if len(batch) == 0 {
		return
	}
	failed := f.send(ctx, batch, func(r *kgo.Record, h *held) error { return f.onward(ctx, r, h, now) })
	for i, err := range failed {
		if err != nil && ctx.Err() == nil {
			f.refused(batch[i], now, err)
		}
	}
	if ctx.Err() != nil {
		return
	}
	var stuck []*held
	for i, h := range batch {
		if failed[i] != nil {
			stuck = append(stuck, h)
		}
	}
	for i, err := range f.send(ctx, stuck, func(r *kgo.Record, h *held) error { return f.detour(ctx, r, h, now) }) {
		if err != nil && ctx.Err() == nil {
			stuck[i].due = time.Now().Add(forwardBackoff)
			f.complain(err)
		}
	}
	f.forget()
}

// send publishes a record for each of batch and notes those that were confirmed.
func (f *forwarder) send(ctx context.Context, batch []*held, write func(*kgo.Record, *held) error) []error {
	errs := make([]error, len(batch))
	var records []*kgo.Record
	var index []int
	for i, h := range batch {
		r := new(kgo.Record)
		if errs[i] = write(r, h); errs[i] == nil {
			records, index = append(records, r), append(index, i)
		}
	}
	for k, err := range f.d.sendAll(ctx, records) {
		i := index[k]
		if errs[i] = err; err == nil {
			batch[i].gone = true
			f.done = append(f.done, driver.Settlement{Token: batch[i].m.Token, Outcome: driver.Ack})
			f.well(batch[i], records[k].Topic)
		}
	}
	return errs
}

// settle confirms what was moved; what fails is tried again, what is stale is
// another member's by now.
func (f *forwarder) settle(ctx context.Context) error {
	if len(f.done) == 0 {
		return nil
	}
	err := f.src.Settle(ctx, f.done)
	var parts driver.BatchError
	switch {
	case err == nil:
		f.trim.moved += len(f.done)
		f.done = nil
		f.recovered()
	case errors.As(err, &parts):
		var again []driver.Settlement
		for i, s := range f.done {
			if e := parts[i]; e != nil && !errors.Is(e, driver.ErrStale) {
				again = append(again, s)
			}
		}
		f.done = again
	case errors.Is(err, driver.ErrStale):
		f.done = nil
	case errors.Is(err, driver.ErrClosed):
		return err
	}
	if len(f.done) > 0 && ctx.Err() == nil {
		f.complain(err)
		pause(ctx, forwardBackoff)
	}
	return nil
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
