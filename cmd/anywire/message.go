package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// message is what tail --json prints.
type message struct {
	Topic       string     `json:"topic"`
	Shard       int        `json:"shard"`
	Position    string     `json:"position,omitempty"`
	Published   *time.Time `json:"published,omitempty"` // by the broker's clock
	ID          string     `json:"id,omitempty"`
	Source      string     `json:"source,omitempty"`
	Type        string     `json:"type,omitempty"` // NAME@VERSION
	Key         string     `json:"key,omitempty"`
	Subject     string     `json:"subject,omitempty"`
	Time        *time.Time `json:"time,omitempty"`
	Expires     *time.Time `json:"expires,omitempty"`
	Correlation string     `json:"correlation,omitempty"`
	Causation   string     `json:"causation,omitempty"`
	Idempotency string     `json:"idempotency_key,omitempty"`
	Hops        int        `json:"hops,omitempty"`
	ContentType string     `json:"content_type,omitempty"`

	Extensions map[string]string `json:"extensions,omitempty"`

	Error   string          `json:"error,omitempty"` // why it is no message of anywire
	Headers []header        `json:"headers,omitempty"`
	Bytes   int             `json:"bytes"`
	Data    json.RawMessage `json:"data,omitempty"`        // with --body, a payload that is JSON
	Text    string          `json:"text,omitempty"`        // with --body, other text
	Base64  string          `json:"data_base64,omitempty"` // with --body, anything else

	text string // the payload for people
}

// header is one of a message that cannot be read.
type header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func messageOf(d *transport.Delivery, body bool) *message {
	m := &message{
		Topic: d.Topic, Shard: d.Raw.Shard, Position: d.Raw.Position, Published: known(d.Raw.Published), Bytes: len(d.Raw.Body), Key: d.Raw.Key,
	}
	data := d.Raw.Body
	if d.DecodeErr != nil {
		m.undecodable(d.DecodeErr, d.Raw)
	} else {
		m.attributes(d.Envelope)
		data = d.Envelope.Data
		m.Bytes = len(data)
	}
	if body {
		m.payload(data)
	}
	return m
}

func known(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC()
	return &at
}

func (m *message) attributes(e *envelope.Envelope) {
	m.ID, m.Source, m.Type, m.Key, m.Subject = e.ID, e.Source, e.WireType(), e.Key, e.Subject
	m.Time, m.Expires = known(e.Time), known(e.Expires)
	m.Correlation, m.Causation, m.Idempotency = e.CorrelationID, e.CausationID, e.IdempotencyKey
	m.Hops, m.ContentType, m.Extensions = e.Hops, e.ContentType, e.Extensions
}

func (m *message) undecodable(err error, raw *driver.Message) {
	m.Error = err.Error()
	for _, h := range raw.Headers {
		m.Headers = append(m.Headers, header{h.Name, h.Value})
	}
}

func (m *message) payload(data []byte) {
	switch {
	case len(data) == 0:
	case json.Valid(data):
		m.Data, m.text = json.RawMessage(data), string(data)
	case utf8.Valid(data):
		m.Text, m.text = string(data), string(data)
	default:
		m.Base64 = base64.StdEncoding.EncodeToString(data)
		m.text = "base64:" + m.Base64
	}
	m.text = harmless(m.text, "\n\t")
}

// line is a message on a terminal.
func (m *message) line(p painter) string {
	at := "-"
	if m.Published != nil {
		at = m.Published.Format("2006-01-02T15:04:05.000Z")
	}
	size := value.Size(m.Bytes).String()
	if m.Bytes < int(value.KiB) {
		size = strconv.Itoa(m.Bytes) + " B"
	}
	place := m.Position
	if place == "" {
		place = "shard " + strconv.Itoa(m.Shard)
	}
	head := p.paint(faint, at+"  "+harmless(place, ""))
	if m.Error != "" {
		return fmt.Sprintf("%s  %s  %s", head, p.paint(red, "no message of anywire: "+harmless(m.Error, "")), size)
	}
	parts := []string{head, p.paint(bold, harmless(m.Type, ""))}
	if m.Key != "" {
		parts = append(parts, "key="+harmless(m.Key, ""))
	}
	parts = append(parts, "id="+harmless(m.ID, ""), size)
	if reason := m.Extensions[envelope.AttrDeadLetterReason]; reason != "" {
		parts = append(parts, p.paint(red, "dead: "+harmless(reason, "")))
	}
	return strings.Join(parts, "  ")
}
