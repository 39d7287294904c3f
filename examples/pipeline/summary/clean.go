package summary

import (
	"regexp"
	"strings"
	"unicode"
)

// Text is a document without its markup.
type Text struct {
	// Title is the first heading that stands before any text, or empty.
	Title string
	// Headings are all of them, the title included.
	Headings []string
	// Blocks are the paragraphs and list items, a line each.
	Blocks []Block
}

// Block is a paragraph or a list item.
type Block struct {
	Text string
	// Section counts the headings before the block, Item says that it stood in
	// a list.
	Section int
	Item    bool
}

// Clean takes what is no prose off a Markdown document: front matter, code,
// tables, rules, comments, images, and the signs around links and emphasis.
// Plain text comes out as it is, paragraph by paragraph.
func Clean(document string) Text {
	document = strings.TrimPrefix(document, "\uFEFF")
	document = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(document)
	c := cleaner{}
	for line := range strings.SplitSeq(withoutComments(withoutFrontMatter(document)), "\n") {
		c.line(line)
	}
	c.flush()
	return c.text
}

// cleaner collects the lines of a paragraph until something ends it.
type cleaner struct {
	text  Text
	lines []string
	item  bool   // the open paragraph is a list item
	list  bool   // inside a list indented lines are text
	fence string // the mark that closes the open code block
}

var (
	heading  = regexp.MustCompile(`^ {0,3}#{1,6}(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$`)
	rule     = regexp.MustCompile(`^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$`)
	setext   = regexp.MustCompile(`^ {0,3}(?:=+|-{2,})[ \t]*$`)
	opening  = regexp.MustCompile("^[ \t]*(`{3,}|~{3,})[^`]*$")
	table    = regexp.MustCompile(`^[ \t]*\||\|[ \t]*:?-{3,}|-{3,}:?[ \t]*\|`)
	item     = regexp.MustCompile(`^[ \t]*(?:[-*+•]|\d{1,9}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?(.*)$`)
	quote    = regexp.MustCompile(`^(?:[ \t]*>[ \t]?)+`)
	define   = regexp.MustCompile(`^ {0,3}\[[^\]]+\]:[ \t]+\S+`)
	indented = regexp.MustCompile(`^(?: {4}|\t)`)
)

func (c *cleaner) line(line string) {
	if c.inFence(line) {
		return
	}
	line = quote.ReplaceAllString(line, "")
	switch {
	case strings.TrimSpace(line) == "":
		c.flush()
	case setext.MatchString(line) && len(c.lines) > 0 && !c.item:
		c.head(strings.Join(c.lines, " "))
	case heading.MatchString(line):
		c.flush()
		c.head(heading.FindStringSubmatch(line)[1])
	case rule.MatchString(line), table.MatchString(line), define.MatchString(line):
		c.flush()
	case item.MatchString(line):
		c.flush()
		c.item, c.list = true, true
		c.lines = append(c.lines, item.FindStringSubmatch(line)[1])
	case indented.MatchString(line) && !c.list && len(c.lines) == 0:
		// Code by indentation.
	default:
		c.list = c.list && (c.item || indented.MatchString(line))
		c.lines = append(c.lines, line)
	}
}

// inFence reports whether the line is code between fences, or a fence.
func (c *cleaner) inFence(line string) bool {
	if c.fence != "" {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, c.fence) && strings.Trim(trimmed, c.fence[:1]) == "" {
			c.fence = ""
		}
		return true
	}
	if m := opening.FindStringSubmatch(line); m != nil {
		c.flush()
		c.fence = m[1]
		return true
	}
	return false
}

// head ends the section before.
func (c *cleaner) head(text string) {
	c.lines, c.item, c.list = nil, false, false
	if text = Plain(text); text == "" {
		return
	}
	if len(c.text.Headings)+len(c.text.Blocks) == 0 {
		c.text.Title = text
	}
	c.text.Headings = append(c.text.Headings, text)
}

func (c *cleaner) flush() {
	if text := Plain(strings.Join(c.lines, " ")); strings.ContainsFunc(text, letter) {
		c.text.Blocks = append(c.text.Blocks, Block{Text: text, Section: len(c.text.Headings), Item: c.item})
	}
	c.lines, c.item = nil, false
}

func letter(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// withoutFrontMatter drops the block of settings between two lines of dashes
// that some tools put first.
func withoutFrontMatter(document string) string {
	rest, ok := strings.CutPrefix(document, "---\n")
	if !ok {
		return document
	}
	if settings, body, ok := strings.Cut(rest, "\n---\n"); ok && strings.Contains(settings, ":") &&
		!strings.Contains(settings, "\n\n") {
		return body
	}
	return document
}

// withoutComments drops HTML comments; one that never ends is text.
func withoutComments(document string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(document, "<!--")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		_, after, closed := strings.Cut(rest, "-->")
		if !closed {
			b.WriteString("<!--" + rest)
			return b.String()
		}
		document = after
	}
}

var (
	image     = regexp.MustCompile(`!\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])`)
	link      = regexp.MustCompile(`\[([^\[\]]*)\](?:\([^()]*(?:\([^()]*\)[^()]*)*\)|\[[^\]]*\])`)
	autolink  = regexp.MustCompile(`<((?:https?://|mailto:)[^<>\s]+)>`)
	tag       = regexp.MustCompile(`</?[a-zA-Z][a-zA-Z0-9-]*(?:\s[^<>]*)?/?>`)
	code      = regexp.MustCompile("`+([^`]+)`+")
	strong    = regexp.MustCompile(`\*\*([^*]+)\*\*|__([^_]+)__`)
	emphasis  = regexp.MustCompile(`\*([^*\s](?:[^*]*[^*\s])?)\*`)
	underline = regexp.MustCompile(`(^|[\s(])_([^_\s](?:[^_]*[^_\s])?)_([\s.,;:!?)]|$)`)
	escaped   = regexp.MustCompile(`\\[[:punct:]]`)
)

const hidden = '\uE000'

// Plain takes the signs of Markdown out of a line, and makes each run of white
// space and control characters one blank.
func Plain(line string) string {
	// An escaped sign is hidden among characters for private use.
	line = escaped.ReplaceAllStringFunc(line, func(s string) string { return string(hidden + rune(s[1])) })
	line = image.ReplaceAllString(line, "")
	line = link.ReplaceAllString(line, "$1")
	line = autolink.ReplaceAllString(line, "$1")
	line = tag.ReplaceAllString(line, "")
	line = strong.ReplaceAllString(line, "$1$2")
	line = emphasis.ReplaceAllString(line, "$1")
	line = underline.ReplaceAllString(line, "$1$2$3")
	line = code.ReplaceAllString(line, "$1")
	line = strings.Map(func(r rune) rune {
		if r > hidden && r <= hidden+'~' {
			return r - hidden
		}
		return r
	}, line)
	return strings.Join(strings.FieldsFunc(line, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == '\uFFFD'
	}), " ")
}
