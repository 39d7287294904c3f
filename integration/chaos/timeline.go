package chaos

import (
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
	"time"
)

// The timeline's measures, in pixels.
const (
	leftEdge    = 170
	plotWidth   = 1000
	plotHeight  = 160
	rowHeight   = 18
	plotTop     = 40
	rightMargin = 30
)

// span is a fault from its begin to its end.
type span struct {
	what     string
	from, to time.Time
}

// Timeline draws a history as SVG: effects in a second above, one row for each
// kind of fault below, and the crashes that workers made themselves.
func Timeline(w io.Writer, title string, history []Event) error {
	if len(history) == 0 {
		return nil
	}
	t := timeline{begin: history[0].At, end: history[len(history)-1].At}
	for i := range history {
		t.take(&history[i])
	}
	t.draw(title)
	_, err := io.WriteString(w, t.svg.String())
	return err
}

type timeline struct {
	begin, end time.Time
	effects    []time.Time
	spans      []span
	crashes    []time.Time
	kinds      []string
	svg        strings.Builder
}

func (t *timeline) take(e *Event) {
	switch e.What {
	case effected:
		t.effects = append(t.effects, e.At)
	case crashed:
		t.crashes = append(t.crashes, e.At)
	case faulted:
		t.spans = append(t.spans, span{e.Detail, e.At, t.end})
		if !slices.Contains(t.kinds, e.Detail) {
			t.kinds = append(t.kinds, e.Detail)
		}
	case healed:
		for i := range slices.Backward(t.spans) {
			if t.spans[i].what == e.Detail {
				t.spans[i].to = e.At
				break
			}
		}
	}
}

func (t *timeline) x(at time.Time) float64 {
	whole := max(t.end.Sub(t.begin), time.Millisecond)
	return leftEdge + plotWidth*float64(at.Sub(t.begin))/float64(whole)
}

func (t *timeline) putf(format string, args ...any) { fmt.Fprintf(&t.svg, format+"\n", args...) }

func (t *timeline) draw(title string) {
	slices.Sort(t.kinds)
	rows := len(t.kinds) + 1
	height := plotTop + plotHeight + 30 + rows*rowHeight + 20
	t.putf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`,
		leftEdge+plotWidth+rightMargin, height)
	t.putf(`<rect width="100%%" height="100%%" fill="white"/>`)
	t.putf(`<text x="%d" y="22" font-size="15">%s</text>`, leftEdge, html.EscapeString(title))
	t.drawEffects()
	y := plotTop + plotHeight + 30
	for _, kind := range t.kinds {
		t.drawRow(kind, y, "#c0392b")
		y += rowHeight
	}
	t.putf(`<text x="%d" y="%d" text-anchor="end">workers crash</text>`, leftEdge-8, y+13)
	for _, at := range t.crashes {
		t.putf(`<path d="M%.1f %d l4 10 h-8 z" fill="#8e44ad"/>`, t.x(at), y+3)
	}
	t.putf(`</svg>`)
}

// drawEffects draws how many effects came in each part of the time.
func (t *timeline) drawEffects() {
	const bins = 200
	width := max(t.end.Sub(t.begin), time.Millisecond) / bins
	counts := make([]int, bins+1)
	most := 1
	for _, at := range t.effects {
		i := min(int(at.Sub(t.begin)/max(width, 1)), bins)
		counts[i]++
		most = max(most, counts[i])
	}
	bottom := plotTop + plotHeight
	var points strings.Builder
	for i, n := range counts {
		fmt.Fprintf(&points, "%.1f,%.1f ", leftEdge+plotWidth*float64(i)/bins, float64(bottom)-plotHeight*float64(n)/float64(most))
	}
	perSecond := float64(most) / width.Seconds()
	t.putf(`<polygon points="%d,%d %s%d,%d" fill="#2980b9" fill-opacity="0.6"/>`, leftEdge, bottom, points.String(), leftEdge+plotWidth, bottom)
	t.putf(`<text x="%d" y="%d" text-anchor="end">%.0f effects/s</text>`, leftEdge-8, plotTop+10, perSecond)
	t.putf(`<text x="%d" y="%d" text-anchor="end">0</text>`, leftEdge-8, bottom)
	for i := range 11 {
		at := t.begin.Add(t.end.Sub(t.begin) * time.Duration(i) / 10)
		t.putf(`<line x1="%[1]d" x2="%[1]d" y1="%[2]d" y2="%[3]d" stroke="#ddd"/>`, leftEdge+plotWidth*i/10, plotTop, bottom)
		t.putf(`<text x="%d" y="%d" text-anchor="middle">%.0f s</text>`, leftEdge+plotWidth*i/10, bottom+16, at.Sub(t.begin).Seconds())
	}
}

func (t *timeline) drawRow(kind string, y int, colour string) {
	t.putf(`<text x="%d" y="%d" text-anchor="end" font-size="10">%s</text>`, leftEdge-8, y+13, html.EscapeString(shorter(kind)))
	for _, s := range t.spans {
		if s.what != kind {
			continue
		}
		from := t.x(s.from)
		t.putf(`<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`, from, y+3, max(t.x(s.to)-from, 3), rowHeight-6, colour)
	}
}

// shorter leaves out what the row has no room for.
func shorter(kind string) string {
	kind, _, _ = strings.Cut(kind, " for longer")
	return kind
}
