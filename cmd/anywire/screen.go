package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/anywire/anywire/config/value"
)

// isTerminal reports whether a person reads, or writes, at the other end.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// painter colours text for a terminal, and leaves it alone elsewhere.
type painter bool

func painterFor(w io.Writer) painter {
	return painter(isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb")
}

// colour is an attribute of a terminal's text.
type colour string

const (
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
	faint  colour = "2"
	bold   colour = "1"
)

func (p painter) paint(c colour, text string) string {
	if !p || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// columns prints rows under each other, each column as wide as its widest cell.
func columns(w io.Writer, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// harmless replaces what would move a terminal's cursor or hide text: messages
// come from others.
func harmless(text, keep string) string {
	if strings.IndexFunc(text, func(r rune) bool { return isHarmful(r, keep) }) < 0 && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if isHarmful(r, keep) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func isHarmful(r rune, keep string) bool {
	return r == utf8.RuneError || (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) && !strings.ContainsRune(keep, r)
}

// ageText is how long ago something was, in the unit that matters.
func ageText(d time.Duration) string {
	switch {
	case d < 0:
		d = 0
	case d >= 48*time.Hour:
		return fmt.Sprintf("%.1fd", d.Hours()/24)
	case d >= time.Minute:
		d = d.Round(time.Second)
	default:
		d = d.Round(10 * time.Millisecond)
	}
	return value.Duration(d).String()
}

// orDash is what a cell without content shows.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
