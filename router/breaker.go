package router

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
)

// When a breaker opens: half of so many attempts failed, over so many messages at
// the least, so that one bad message opens nothing.
const (
	breakerAttempts = 20
	breakerMessages = 5
)

// breakerBackoff is how long a breaker stays open before it tries one message.
var breakerBackoff = backoff{time.Second, time.Minute} //nolint:gochecknoglobals // a constant

// breaker stops an agent's attempts while most of them fail, as when a service
// that its handler calls is down: the messages keep their slots and leases, and no
// attempt is counted. One message at a time tries whether that is over.
type breaker struct {
	on bool

	mu     sync.Mutex
	last   [breakerAttempts]outcome
	made   int       // attempts in last, and where the next goes
	until  time.Time // zero: it is closed
	opened int       // times in a row
	probe  *progress // that tries
}

// outcome is one attempt.
type outcome struct {
	id     string
	failed bool
}

// admit reports how long a message has to wait, 0: not at all. While the breaker
// is open, the one that does not is the probe.
func (b *breaker) admit(p func() *progress) (time.Duration, error) {
	if !b.on {
		return 0, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until.IsZero() {
		return 0, nil
	}
	reason := fmt.Errorf("the breaker is open: half of the last %d attempts failed", breakerAttempts)
	if wait := time.Until(b.until); wait > 0 {
		return wait, reason
	}
	if b.probe != nil && b.probe != p() {
		return breakerBackoff.min / 4, reason
	}
	b.probe = p()
	return 0, nil
}

// note counts an attempt that ended, by its verdict on the message.
func (b *breaker) note(p *progress, id string, failed bool) {
	if !b.on {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.until.IsZero() {
		b.judge(p, failed)
		return
	}
	b.last[b.made%breakerAttempts] = outcome{id, failed}
	b.made++
	if failed && b.shouldOpen() {
		b.open()
	}
}

// judge ends the probe: it closes the breaker, or keeps it open for longer.
// Attempts that began before it opened say nothing.
func (b *breaker) judge(p *progress, failed bool) {
	if p == nil || b.probe != p {
		return
	}
	b.probe = nil
	if failed {
		b.open()
		return
	}
	b.until, b.opened, b.made = time.Time{}, 0, 0
}

func (b *breaker) open() {
	b.until = time.Now().Add(breakerBackoff.delay(b.opened))
	b.opened++
}

func (b *breaker) shouldOpen() bool {
	failures, messages := 0, map[string]bool{}
	for _, o := range b.last[:min(b.made, breakerAttempts)] {
		if o.failed {
			failures++
			messages[o.id] = true
		}
	}
	return b.made >= breakerAttempts && 2*failures >= breakerAttempts && len(messages) >= breakerMessages
}

// unprobe lets another message try: p did not get to an attempt.
func (b *breaker) unprobe(p *progress) {
	if !b.on || p == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.probe == p {
		b.probe = nil
	}
}

func (a *agent) admittedByBreaker(d *transport.Delivery) (transport.Outcome, bool) {
	wait, reason := a.breaker.admit(func() *progress { return progressOf(d) })
	if wait <= 0 {
		return transport.Outcome{}, true
	}
	a.stall.Store(&stall{reason.Error(), time.Now().Add(wait + breakerBackoff.min)})
	return transport.WaitInLane(wait), false
}

// isRetryable reports whether a failure says something of what the handler needs,
// and not of the message or of this process.
func isRetryable(p *progress) bool {
	code := codeOf(p.err)
	return !p.lost && code != envelope.Rejected && code != envelope.Undecodable
}

// limiter spaces attempts; nil: it does not.
type limiter struct{ *rate.Limiter }

func newLimiter(perSecond float64) limiter {
	if perSecond <= 0 {
		return limiter{}
	}
	return limiter{rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond/10)))}
}

// wait reports how long a message has to wait for its turn, which is reserved
// then; 0: not at all.
func (l limiter) wait(p *progress) time.Duration {
	if l.Limiter == nil || p != nil && p.reserved {
		return 0
	}
	return l.Reserve().Delay()
}
