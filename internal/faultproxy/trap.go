package faultproxy

import (
	"bytes"
	"encoding/binary"
)

// trap waits for one request.
type trap struct {
	match func(request []byte) bool
	left  int  // requests to let pass, this one included
	half  bool // break the request itself instead of its reply
	done  chan struct{}
}

// DropReply swallows the reply to one request, the nth from now on (1: the next)
// that match accepts, and resets its connection: the server has done what the
// client cannot know. Replies before it arrive, those behind it are lost. match
// gets each whole request as its protocol writes it. The channel is closed once
// the reply was swallowed.
func (p *Proxy) DropReply(nth int, match func(request []byte) bool) (dropped <-chan struct{}) {
	return p.set(&trap{match: match, left: nth, done: make(chan struct{})})
}

// BreakRequest forwards only the first half of one request, the nth from now on
// that match accepts, and resets its connection. The channel is closed once that
// has begun.
func (p *Proxy) BreakRequest(nth int, match func(request []byte) bool) (broken <-chan struct{}) {
	return p.set(&trap{match: match, left: nth, half: true, done: make(chan struct{})})
}

func (p *Proxy) set(t *trap) <-chan struct{} {
	if p.protocol == Bytes {
		panic("faultproxy: a proxy of plain bytes sees no requests: say its protocol in New")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.traps = append(p.traps, t)
	return t.done
}

// caught gives the trap that the request runs into.
func (p *Proxy) caught(request []byte) *trap {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, t := range p.traps {
		if !t.match(request) {
			continue
		}
		if t.left--; t.left == 0 {
			p.traps = append(p.traps[:i:i], p.traps[i+1:]...)
			return t
		}
	}
	return nil
}

// requests gives what of pending may go on to the server.
func (c *connection) requests(pending []byte) (forward, rest []byte, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dialect == nil {
		return pending, nil, false
	}
	rest = pending
	for len(rest) > 0 {
		n, id := c.dialect.request(rest)
		switch {
		case n < 0:
			c.dialect = nil
			return pending, nil, false
		case n == 0:
			return pending[:len(pending)-len(rest)], rest, false
		}
		if t := c.proxy.caught(rest[:n]); t != nil {
			if t.half {
				close(t.done)
				return pending[:len(pending)-len(rest)+n/2], nil, true
			}
			if c.awaited == nil {
				c.awaited = map[string]*trap{}
			}
			c.awaited[id] = t
		}
		rest = rest[n:]
	}
	return pending, nil, false
}

// replies gives what of pending may go on to the client.
func (c *connection) replies(pending []byte) (forward, rest []byte, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dialect == nil {
		return pending, nil, false
	}
	rest = pending
	for len(rest) > 0 {
		n, id := c.dialect.reply(rest)
		switch {
		case n < 0:
			c.dialect = nil
			return pending, nil, false
		case n == 0:
			return pending[:len(pending)-len(rest)], rest, false
		}
		if t := c.awaited[id]; t != nil && id != "" {
			close(t.done)
			return pending[:len(pending)-len(rest)], nil, true
		}
		rest = rest[n:]
	}
	return pending, nil, false
}

// Contains matches requests that have text in them, in upper or lower case.
func Contains(text string) func(request []byte) bool {
	want := bytes.ToLower([]byte(text))
	return func(request []byte) bool { return bytes.Contains(bytes.ToLower(request), want) }
}

// KafkaAPI matches Kafka's requests of one kind: 0 is Produce, 1 Fetch.
func KafkaAPI(key int16) func(request []byte) bool {
	return func(request []byte) bool {
		return len(request) >= kafkaHeader && binary.BigEndian.Uint16(request[4:]) == uint16(key)
	}
}
