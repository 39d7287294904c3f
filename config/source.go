package config

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// source is one file as it was read.
type source struct {
	name  string
	order int // among the files that are loaded together, from 0
	lines []string
	masks map[int][]span // the secret parts of lines, by line
}

// place is a position in a file; the zero place is none.
type place struct {
	src       *source
	line, col int
}

// span is part of a line, in characters from 0.
type span struct{ from, to int }

// breaks are the line breaks that YAML 1.1 knows: the parser counts them all.
const breaks = "\n\r\u0085\u2028\u2029"

func newSource(name string, order int, text string) *source {
	s := &source{name: name, order: order, masks: map[int][]span{}}
	text = strings.TrimPrefix(text, "\ufeff")
	for {
		end := strings.IndexAny(text, breaks)
		if end < 0 {
			s.lines = append(s.lines, text)
			return s
		}
		s.lines = append(s.lines, text[:end])
		text = text[end:]
		_, size := utf8.DecodeRuneInString(text)
		if strings.HasPrefix(text, "\r\n") {
			size = 2
		}
		text = text[size:]
	}
}

// rank orders problems by file; those without a file come first.
func (s *source) rank() int {
	if s == nil {
		return -1
	}
	return s.order
}

// line answers a line without its break, or nothing beyond the end.
func (s *source) line(number int) string {
	if s == nil || number < 1 || number > len(s.lines) {
		return ""
	}
	return s.lines[number-1]
}

// at answers a place that is certain to lie in the file: an error at the end of
// the input is shown behind the last line that holds anything.
func (s *source) at(line, col int) place {
	if line <= len(s.lines) && line > 0 && (line < len(s.lines) || s.lines[line-1] != "") {
		return place{s, line, max(col, 1)}
	}
	last := len(s.lines)
	for last > 1 && strings.TrimSpace(s.lines[last-1]) == "" {
		last--
	}
	if line < 1 {
		return place{s, 1, 1}
	}
	return place{s, last, utf8.RuneCountInString(strings.TrimRight(s.line(last), " \t")) + 1}
}

// hide marks the scalar at a place as secret. One that goes on over several
// lines takes those that are indented deeper than its key.
func (s *source) hide(n *node) {
	if n.at.src != s || onlyVariable.MatchString(n.raw) {
		return
	}
	line := s.line(n.at.line)
	if len(line) > longLine {
		s.hideRest(n.at)
		return
	}
	rest := tail(line, n.at.col-1)
	if end := scalarEnd(rest, n); end >= 0 {
		s.masks[n.at.line] = append(s.masks[n.at.line], span{n.at.col - 1, n.at.col - 1 + end})
		return
	}
	s.hideRest(n.at)
	for number := n.at.line + 1; number <= len(s.lines) && deeper(s.line(number), n.key.col-1); number++ {
		s.masks[number] = append(s.masks[number], span{0, utf8.RuneCountInString(s.line(number))})
	}
}

// hideRest marks the rest of a line as secret.
func (s *source) hideRest(at place) {
	for _, sp := range s.masks[at.line] {
		if sp.to == math.MaxInt && sp.from < at.col {
			return
		}
	}
	s.masks[at.line] = append(s.masks[at.line], span{at.col - 1, math.MaxInt})
}

// scalarEnd answers how many characters of rest a scalar on one line takes, or
// -1 if it goes on.
func scalarEnd(rest string, n *node) int {
	if strings.HasPrefix(rest, n.raw) && n.raw != "" {
		return utf8.RuneCountInString(n.raw)
	}
	if rest == "" || (rest[0] != '"' && rest[0] != '\'') {
		return -1
	}
	quote := rest[0]
	for i := 1; i < len(rest); i++ {
		switch {
		case rest[i] == '\\' && quote == '"':
			i++
		case rest[i] == quote && quote == '\'' && strings.HasPrefix(rest[i+1:], "'"):
			i++
		case rest[i] == quote:
			return utf8.RuneCountInString(rest[:i+1])
		}
	}
	return -1
}

// deeper reports whether a line is blank or indented by more than indent.
func deeper(line string, indent int) bool {
	text := strings.TrimLeft(line, " ")
	return text == "" || len(line)-len(text) > indent
}

// head answers the first characters of a line.
func head(line string, chars int) string { return line[:len(line)-len(tail(line, chars))] }

// tail cuts the first characters off a line.
func tail(line string, chars int) string {
	for range chars {
		_, size := utf8.DecodeRuneInString(line)
		line = line[size:]
	}
	return line
}

var (
	// sensitive finds values that are secret by the name of their key, for lines
	// of which no more is known than their text.
	sensitive = regexp.MustCompile(`(?i)["']?[\w-]*(?:passw|secret|token|credential|api[_-]?key|private[_-]?key|seed)[\w-]*["']?\s*:\s+` +
		`(\$\{[^}]*\}[^,\s]*|"(?:[^"\\]|\\.)*(?:"|$)|'[^']*(?:'|$)|[^\s#"'$][^,}#]*|\$[^,}#]*)`)
	// userInfo finds the password of a URL, which may hold an @, or what stands in
	// place of user and password: for NATS that is a token.
	userInfo = regexp.MustCompile(`://(?:[^\s/:@]*:)?([^\s/]+)@`)
	// onlyVariable is a scalar whose text gives nothing away.
	onlyVariable = regexp.MustCompile(`^\$\{(?:\w+|file:[^}]*)\}$`)
)

// isSensitive reports whether a key's name says that its value is secret.
func isSensitive(key string) bool { return sensitive.MatchString(key + ": x") }

// maskURL hides the passwords of URLs in a text.
func maskURL(text string) string {
	for _, m := range slices.Backward(userInfo.FindAllStringSubmatchIndex(text, -1)) {
		text = text[:m[2]] + "***" + text[m[3]:]
	}
	return text
}

// longLine is where a line is too long to be looked at as a whole for every
// problem in it; aroundColumn is how much of it is looked at instead.
const (
	longLine     = 4096
	aroundColumn = 300
)

// quote answers a line, or the part of a long one around a column, with its
// secrets masked, and where the column went.
func (s *source) quote(number, column int) (line string, caret int) {
	line = s.line(number)
	spans := slices.Clone(s.masks[number])
	if len(line) > longLine {
		from := max(column-1-aroundColumn, 0)
		line = head(tail(line, from), 2*aroundColumn)
		column -= from
		for i := range spans {
			spans[i] = span{max(spans[i].from-from, 0), max(spans[i].to-from, 0)}
		}
	}
	for _, pattern := range []*regexp.Regexp{sensitive, userInfo} {
		for _, m := range pattern.FindAllStringSubmatchIndex(line, -1) {
			text := strings.TrimRight(line[m[2]:m[3]], " \t")
			if !onlyVariable.MatchString(strings.Trim(text, `"'`)) {
				from := utf8.RuneCountInString(line[:m[2]])
				spans = append(spans, span{from, from + utf8.RuneCountInString(text)})
			}
		}
	}
	return mask(line, column, spans)
}

// mask puts *** in the place of spans and moves the column along.
func mask(line string, column int, spans []span) (masked string, caret int) {
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	var b strings.Builder
	at, done := column-1, 0
	shift := 0
	chars := []rune(line)
	for _, sp := range spans {
		to := min(sp.to, len(chars))
		if sp.from < done || sp.from >= to {
			done = max(done, min(to, len(chars)))
			continue
		}
		b.WriteString(string(chars[done:sp.from]) + "***")
		switch {
		case column-1 >= to:
			shift += 3 - (to - sp.from)
		case column-1 > sp.from:
			at = sp.from
		}
		done = to
	}
	b.WriteString(string(chars[min(done, len(chars)):]))
	return b.String(), at + shift + 1
}

// excerptWidth is how much of a long line is shown.
const excerptWidth = 160

// clip cuts a long line down to the part around a column, counted from 0, and
// makes what a terminal would act upon visible.
func clip(line string, column int) (text string, at int) {
	chars := []rune(line)
	for i, r := range chars {
		if unicode.IsControl(r) && r != '\t' {
			chars[i] = utf8.RuneError
		}
	}
	column = min(max(column, 0), len(chars))
	if len(chars) <= excerptWidth {
		return string(chars), column
	}
	from := max(column-excerptWidth/2, 0)
	to := min(from+excerptWidth, len(chars))
	before, after := "", ""
	if from > 0 {
		before = "…"
	}
	if to < len(chars) {
		after = "…"
	}
	return before + string(chars[from:to]) + after, column - from + utf8.RuneCountInString(before)
}

// pad answers what to print before a caret so that it stands under a column of
// line, counted from 0: tabs stay tabs, wide characters take two places and
// combining ones none.
func pad(line string, column int) string {
	var b strings.Builder
	for i, r := range []rune(line) {
		if i >= column {
			break
		}
		switch {
		case r == '\t':
			b.WriteByte('\t')
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case isWide(r):
			b.WriteString("  ")
		default:
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// isWide reports whether terminals draw a character two places wide.
func isWide(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana) ||
		r >= 0x1F300 && r <= 0x1FAFF || r >= 0xFF01 && r <= 0xFF60 || r >= 0x3000 && r <= 0x303E
}
