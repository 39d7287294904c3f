package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"strings"
)

// payload is the body of one message, and the line of the input that it is.
type payload struct {
	body []byte
	line int // 0: the whole input
}

// fault is an error with the line.
func (p payload) fault(err error) error {
	if p.line == 0 {
		return err
	}
	return fmt.Errorf("line %d: %w", p.line, err)
}

// payloads reads messages ahead of who sends them, so that a wait for input can
// be interrupted.
type payloads struct {
	found  chan payload // closed at the end
	failed error        // why it ended; read after found is closed
	done   chan struct{}
	source io.Closer
	ended  error // what next returns from now on
}

// open begins to read what is to be sent.
func (p *publishing) open(limit int) (*payloads, error) {
	in := &payloads{found: make(chan payload, mostTogether), done: make(chan struct{})}
	var source io.Reader
	switch {
	case p.isData:
		source = strings.NewReader(p.data)
	case p.file != "" && p.file != "-":
		f, err := os.Open(p.file)
		if err != nil {
			return nil, err
		}
		source, in.source = f, f
	default:
		source = p.cmd.InOrStdin()
		if isTerminal(source) {
			fmt.Fprintln(p.cmd.ErrOrStderr(), "reading the payload from the terminal: end it with Ctrl-D")
		}
	}
	isJSON := isJSONType(p.contentType)
	go func() {
		defer close(in.found)
		if p.lines {
			in.failed = in.readLines(source, mostBody(limit), isJSON)
		} else {
			in.failed = in.readAll(source, mostBody(limit), isJSON)
		}
	}()
	return in, nil
}

func (in *payloads) readAll(source io.Reader, most int, isJSON bool) error {
	body, err := io.ReadAll(io.LimitReader(source, int64(most)+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the payload: %w", err)
	case len(body) > most:
		return tooLarge("the payload", most)
	}
	if isJSON {
		if err := mustBeJSON(body, true); err != nil {
			return err
		}
		body = bytes.TrimSpace(body) // the newline at the end of a file is no part of a message
	}
	in.give(payload{body: body})
	return nil
}

func (in *payloads) readLines(source io.Reader, most int, isJSON bool) error {
	scanner := bufio.NewScanner(source)
	scanner.Buffer(make([]byte, 0, min(most+1, 64<<10)), most+1)
	line := 0
	for scanner.Scan() {
		line++
		text := scanner.Bytes()
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		p := payload{body: bytes.Clone(text), line: line}
		if isJSON {
			if err := mustBeJSON(text, false); err != nil {
				return p.fault(err)
			}
		}
		if !in.give(p) {
			return nil
		}
	}
	if errors.Is(scanner.Err(), bufio.ErrTooLong) {
		return tooLarge(fmt.Sprintf("line %d", line+1), most)
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("read line %d: %w", line+1, err)
	}
	return nil
}

// give is false once nobody wants more.
func (in *payloads) give(p payload) bool {
	select {
	case in.found <- p:
		return true
	case <-in.done:
		return false
	}
}

// next waits for one payload and takes what is there beside it. The error comes
// with what preceded it: io.EOF at the end.
func (in *payloads) next(ctx context.Context, most int) ([]payload, error) {
	if in.ended != nil {
		return nil, in.ended
	}
	var batch []payload
	select {
	case p, ok := <-in.found:
		if !ok {
			return nil, in.end()
		}
		batch = append(batch, p)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for len(batch) < most {
		select {
		case p, ok := <-in.found:
			if !ok {
				return batch, in.end()
			}
			batch = append(batch, p)
			continue
		default:
		}
		break
	}
	return batch, nil
}

func (in *payloads) end() error {
	in.ended = io.EOF
	if in.failed != nil {
		in.ended = &failure{in.failed}
	}
	return in.ended
}

// close lets the reader go. One that waits for a terminal stays until that says
// something.
func (in *payloads) close() {
	close(in.done)
	if in.source != nil {
		_ = in.source.Close()
	}
}

// isJSONType reports whether a payload of a media type is to be JSON.
func isJSONType(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return contentType == "" || err == nil && (media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json"))
}

// mustBeJSON says where a payload stops being JSON.
func mustBeJSON(body []byte, severalLines bool) error {
	const way = "; another --content-type sends it as it is"
	if len(bytes.TrimSpace(body)) == 0 {
		return errors.New("the payload is empty, which is no JSON" + way)
	}
	var v any
	err := json.Unmarshal(body, &v)
	if err == nil {
		return nil
	}
	syntax, ok := errors.AsType[*json.SyntaxError](err)
	if !ok {
		return fmt.Errorf("the payload is not JSON: %w%s", err, way)
	}
	before := body[:min(max(int(syntax.Offset)-1, 0), len(body))]
	line, column := bytes.Count(before, []byte("\n"))+1, len(before)-bytes.LastIndexByte(before, '\n')
	where := fmt.Sprintf("column %d", column)
	if severalLines {
		where = fmt.Sprintf("line %d, column %d", line, column)
	}
	return fmt.Errorf("the payload is not JSON at %s: %w%s", where, err, way)
}
