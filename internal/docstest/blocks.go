package docstest

import (
	"fmt"
	"strings"
)

// Block is a fenced block of a document, or a hidden one.
type Block struct {
	File string // name of the document
	Line int    // of the first line of Text, from 1
	Lang string // "go", "yaml", "console" …, lower case
	Text string
	// Verb and Arg are what the comment before the block says; Verb is empty
	// without one.
	Verb, Arg string
}

// Where is the block's place as file:line.
func (b *Block) Where() string { return fmt.Sprintf("%s:%d", b.File, b.Line) }

// scanner walks the lines of a document.
type scanner struct {
	file   string
	lines  []string
	next   int // index of the line to read next
	blocks []*Block
	verb   string
	arg    string
}

const directive = "<!-- test:"

// Extract finds the blocks of a Markdown document. It refuses a fence or a
// comment that never ends, and a directive that stands before no block.
func Extract(file, text string) ([]*Block, error) {
	s := &scanner{file: file, lines: strings.Split(text, "\n")}
	for s.next < len(s.lines) {
		line := strings.TrimSpace(s.lines[s.next])
		var err error
		switch {
		case strings.HasPrefix(line, directive):
			err = s.comment(line)
		case fence(line) != "":
			err = s.fenced(line)
		case line != "" && s.verb != "":
			err = fmt.Errorf("%s:%d: the comment before says %q, and here is no block", file, s.next+1, s.verb)
		default:
			s.next++
		}
		if err != nil {
			return nil, err
		}
	}
	return s.blocks, nil
}

// fence is the run of backquotes or tildes that opens a block, or "".
func fence(line string) string {
	for _, mark := range []string{"`", "~"} {
		rest := strings.TrimLeft(line, mark)
		if n := len(line) - len(rest); n >= 3 && !strings.Contains(rest, "`") {
			return line[:n]
		}
	}
	return ""
}

// comment reads a directive; a hidden block is the rest of its comment.
func (s *scanner) comment(line string) error {
	start := s.next + 1
	verb, arg, closed := cutDirective(line)
	s.next++
	if verb != "hidden" {
		if !closed {
			return fmt.Errorf("%s:%d: the comment does not end on its line", s.file, start)
		}
		s.verb, s.arg = verb, arg
		return nil
	}
	var text []string
	for ; s.next < len(s.lines); s.next++ {
		if strings.TrimSpace(s.lines[s.next]) == "-->" {
			s.next++
			s.add(&Block{Line: start + 1, Lang: "go", Text: strings.Join(text, "\n"), Verb: "join", Arg: arg})
			return nil
		}
		text = append(text, s.lines[s.next])
	}
	return fmt.Errorf("%s:%d: the comment never ends", s.file, start)
}

func cutDirective(line string) (verb, arg string, closed bool) {
	line = strings.TrimSpace(strings.TrimPrefix(line, directive))
	line, closed = strings.CutSuffix(line, "-->")
	verb, arg, _ = strings.Cut(strings.TrimSpace(line), " ")
	return verb, strings.TrimSpace(arg), closed
}

// fenced reads a block to its closing fence. Blocks in a list are indented:
// what the opening fence is indented by is taken off each line.
func (s *scanner) fenced(line string) error {
	start, mark := s.next+1, fence(line)
	indent := len(s.lines[s.next]) - len(strings.TrimLeft(s.lines[s.next], " "))
	lang, _, _ := strings.Cut(strings.TrimSpace(line[len(mark):]), " ")
	var text []string
	for s.next++; s.next < len(s.lines); s.next++ {
		if closing := strings.TrimSpace(s.lines[s.next]); strings.HasPrefix(closing, mark) && fence(closing) == closing {
			s.next++
			s.add(&Block{Line: start + 1, Lang: strings.ToLower(lang), Text: strings.Join(text, "\n"), Verb: s.verb, Arg: s.arg})
			s.verb, s.arg = "", ""
			return nil
		}
		text = append(text, unindent(s.lines[s.next], indent))
	}
	return fmt.Errorf("%s:%d: the block never ends", s.file, start)
}

func unindent(line string, n int) string {
	for n > 0 && strings.HasPrefix(line, " ") {
		line, n = line[1:], n-1
	}
	return line
}

func (s *scanner) add(b *Block) {
	b.File = s.file
	b.Text += "\n"
	s.blocks = append(s.blocks, b)
}
