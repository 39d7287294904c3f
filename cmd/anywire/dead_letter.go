package main

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/router"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// leastOfID is how much of an id must be given.
const leastOfID = 6

// letter is an entry of a dead-letter topic.
type letter struct {
	*transport.Delivery

	id                         string // of the dead letter; empty: it is none
	agent, reason, fingerprint string
	died                       time.Time
	repeats                    bool // the entry before it with the same id
}

func letterOf(d *transport.Delivery) *letter {
	l := &letter{Delivery: d, died: d.Raw.Published}
	if e := d.Envelope; e != nil {
		l.id, l.agent = e.Reserved(envelope.AttrDeadLetterID), e.Reserved(envelope.AttrDeadLetterAgent)
		l.reason, l.fingerprint = e.Reserved(envelope.AttrDeadLetterReason), e.Reserved(envelope.AttrDeadLetterStack)
		if at, err := time.Parse(time.RFC3339Nano, e.Reserved(envelope.AttrDeadLetterLast)); err == nil {
			l.died = at
		}
	}
	return l
}

// isNamed reports whether an id, or the beginning of one, is the letter's, or that
// of the message which died.
func (l *letter) isNamed(id string) bool {
	return strings.HasPrefix(l.id, id) || l.Envelope.ID == id
}

// isRaw reports whether the original was no envelope.
func (l *letter) isRaw() bool {
	return l.Envelope.Type == router.RawType && l.Envelope.Reserved(envelope.AttrDeadLetterHeaders) != ""
}

// revived is the original message as it goes to its agent again.
func (l *letter) revived(newKey bool) *envelope.Envelope {
	e := l.Envelope.Clone()
	for _, name := range [...]string{
		envelope.AttrDeadLetterID, envelope.AttrDeadLetterReason, envelope.AttrDeadLetterError,
		envelope.AttrDeadLetterAgent, envelope.AttrDeadLetterAttempts, envelope.AttrDeadLetterFirst,
		envelope.AttrDeadLetterLast, envelope.AttrDeadLetterHost, envelope.AttrDeadLetterStack,
		envelope.AttrDeadLetterTopic, envelope.AttrDeadLetterPosition, envelope.AttrDeadLetterHeaders,
		envelope.AttrDeliverAt, envelope.AttrDeliverTo, envelope.AttrAttempt,
	} {
		e.SetReserved(name, "")
	}
	e.Attempt, e.DeliverAt = 0, time.Time{}
	e.Redrive++
	if newKey {
		e.IdempotencyKey = l.newKey(nil)
	}
	return e
}

// newKey is the same whenever this letter is redriven anew, so that what was
// interrupted can be repeated.
func (l *letter) newKey(body []byte) string {
	sum := sha256.Sum256(append([]byte(l.id+"\n"), body...))
	return "redrive-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:20]))
}

// rawOriginal is what could not be decoded, as it was.
func (l *letter) rawOriginal() (*driver.Message, error) {
	var headers []rawHeader
	if err := json.Unmarshal([]byte(l.Envelope.Reserved(envelope.AttrDeadLetterHeaders)), &headers); err != nil {
		return nil, fmt.Errorf("its original headers cannot be read: %w", err)
	}
	m := &driver.Message{Key: l.Envelope.Key, Body: l.Envelope.Data, DedupID: l.newKey(nil)}
	for _, h := range headers {
		text, err := h.text()
		if err != nil {
			return nil, fmt.Errorf("its original header %q cannot be read: %w", h.Name, err)
		}
		m.Headers = append(m.Headers, driver.Header{Name: h.Name, Value: text})
	}
	return m, nil
}

// rawHeader is a header as dead letters and files write it.
type rawHeader struct {
	Name   string `json:"name"`
	Value  string `json:"value,omitempty"`
	Base64 string `json:"base64,omitempty"`
}

func (h rawHeader) text() (string, error) {
	if h.Base64 == "" {
		return h.Value, nil
	}
	text, err := base64.StdEncoding.DecodeString(h.Base64)
	return string(text), err
}
