package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far a job is: a bar on a terminal, else a line now and
// then.
type progress struct {
	w     io.Writer
	total int
	bar   *progressbar.ProgressBar // nil: plain lines

	shown bool // a line was printed
	done  int  // what it said
	when  time.Time
}

func newProgress(w io.Writer, total int) *progress {
	p := &progress{w: w, total: total}
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		p.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(w),
			progressbar.OptionSetDescription("briefs"),
			progressbar.OptionShowCount(),
			progressbar.OptionClearOnFinish(),
			progressbar.OptionThrottle(glance),
		)
	}
	return p
}

// show says how many documents have a brief or a dead letter.
func (p *progress) show(briefs, dead int) {
	done := briefs + dead
	if p.bar != nil {
		_ = p.bar.Set(done) // nobody misses a bar that cannot be drawn
		return
	}
	if p.shown && !p.due(done) {
		return
	}
	p.shown, p.done, p.when = true, done, time.Now()
	fmt.Fprintf(p.w, "briefs %d of %d, dead letters %d\n", briefs, p.total, dead)
}

// due allows a line for each second or each tenth of the work in which
// something happened.
func (p *progress) due(done int) bool {
	tenth := func(n int) int { return 10 * n / p.total }
	return done != p.done && (time.Since(p.when) >= time.Second || tenth(done) != tenth(p.done))
}

// close takes the bar away and prints the last lines, the summary as the very
// last.
func (p *progress) close(summary string, lines []string) {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	for _, line := range lines {
		fmt.Fprintln(p.w, line)
	}
	fmt.Fprintln(p.w, summary)
}
