package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// pace spreads messages over time.
type pace struct {
	each time.Duration // per message; 0: as fast as it goes
	next time.Time     // when the next may go
}

func newPace(perSecond float64) *pace {
	p := &pace{}
	if perSecond > 0 {
		p.each = time.Duration(float64(time.Second) / perSecond)
	}
	return p
}

// most is how many may go together: what a tenth of a second has room for.
func (p *pace) most() int {
	if p.each <= 0 {
		return mostTogether
	}
	return min(max(int(100*time.Millisecond/p.each), 1), mostTogether)
}

// wait blocks until more may go than the n that just went.
func (p *pace) wait(ctx context.Context, n int) error {
	if p.each <= 0 || n == 0 {
		return ctx.Err()
	}
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(n) * p.each)
	timer := time.NewTimer(p.next.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// progress shows on a terminal how far publishing came.
type progress struct {
	w     io.Writer // nil: nobody looks
	shown time.Time
	drawn bool
}

const progressEvery = 200 * time.Millisecond

func newProgress(w io.Writer, many bool) *progress {
	if !many || !isTerminal(w) {
		return &progress{}
	}
	return &progress{w: w, shown: time.Now()}
}

func (p *progress) show(n int) { p.showDone(n, "published") }

// showDone says how many were done what with.
func (p *progress) showDone(n int, what string) {
	if p.w == nil || time.Since(p.shown) < progressEvery {
		return
	}
	p.shown, p.drawn = time.Now(), true
	fmt.Fprintf(p.w, "\r%d %s", n, what)
}

// end clears the line.
func (p *progress) end() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}
