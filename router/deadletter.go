package router

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

const (
	// RawType is the type, in version 1, of a dead letter whose original is no
	// envelope: its body is the original's, its headers are an attribute.
	RawType = "anywire.raw"

	maxErrorText  = 2 << 10
	storeDeadline = 30 * time.Second
)

// dead ends a delivery as a dead letter.
func (a *agent) dead(ctx context.Context, d *transport.Delivery, p *progress) transport.Outcome {
	p.tries, p.outputs = 0, nil
	return a.recordFailure(ctx, d, p)
}

// bury stores the dead letter and settles the original only then. Neither a
// timeout nor the end of the process stops it; a lost lease does, since the
// message is another's.
func (a *agent) bury(ctx context.Context, d *transport.Delivery, p *progress) transport.Outcome {
	if isLost(ctx) {
		return transport.HandBack()
	}
	fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeDeadline)
	defer cancel()
	err := a.Transport.Publish(fresh, a.DeadLetter, p.letter)
	if errors.Is(err, envelope.TooLarge) { // the broker's own limit: better so than not at all
		lighten(p.letter)
		err = a.Transport.Publish(fresh, a.DeadLetter, p.letter)
	}
	if err != nil {
		return a.stalled(ctx, d, p, "dead letter cannot be published", err)
	}
	a.unstalled(p)
	a.buried(ctx, d, p)
	return transport.Done()
}

// lighten leaves of the attributes only those that say what happened and to
// which message.
func lighten(e *envelope.Envelope) {
	kept := map[string]string{}
	for _, name := range [...]string{
		envelope.AttrDeadLetterID, envelope.AttrDeadLetterReason, envelope.AttrDeadLetterAgent,
		envelope.AttrDeadLetterAttempts, envelope.AttrDeadLetterTopic, envelope.AttrDeadLetterPosition,
	} {
		if value := e.Reserved(name); value != "" {
			kept[name] = value
		}
	}
	kept[envelope.AttrDeadLetterError] = cut(e.Reserved(envelope.AttrDeadLetterError), maxErrorText/8)
	e.Extensions, e.TraceState = kept, ""
}

func (a *agent) buried(ctx context.Context, d *transport.Delivery, p *progress) {
	a.counts.deadLettered.Add(1)
	reason := envelope.Code(p.letter.Reserved(envelope.AttrDeadLetterReason))
	a.router.log.ErrorContext(ctx, "message is a dead letter", withStack(p.err, "agent", a.Name, "message", logged(d),
		"reason", string(reason), "attempts", p.attempt, "dead_letter", a.DeadLetter, "error", loggedError{p.err})...)
	if a.router.options.Observe != nil {
		id, typ := identified(d)
		a.router.observe(DeadLettered{
			Agent: a.Name, Topic: d.Topic, ID: id, Type: typ,
			DeadLetter: a.DeadLetter, Reason: reason, Attempts: p.attempt, Err: p.err,
		})
	}
}

// letter is the copy that is stored: the original, its id and source included,
// with what happened to it.
func (a *agent) letter(d *transport.Delivery, p *progress) *envelope.Envelope {
	e, identity := a.original(d)
	e.Topic, e.Attempt, e.DeliverAt = a.DeadLetter, 0, time.Time{}
	id := letterID(identity, a.Name, e.Redrive)
	if e.ID == "" { // a raw copy
		e.ID, e.CorrelationID = id, id
	}
	for _, attr := range [...]struct{ name, value string }{
		{envelope.AttrDeadLetterID, id},
		{envelope.AttrDeadLetterReason, string(reasonOf(p.err))},
		{envelope.AttrDeadLetterError, cut(p.err.Error(), maxErrorText)},
		{envelope.AttrDeadLetterAgent, a.Name},
		{envelope.AttrDeadLetterAttempts, strconv.Itoa(p.attempt)},
		{envelope.AttrDeadLetterFirst, stamp(p.began)},
		{envelope.AttrDeadLetterLast, stamp(time.Now())},
		{envelope.AttrDeadLetterHost, cut(a.router.options.Host, 255)},
		{envelope.AttrDeadLetterStack, p.stack},
		{envelope.AttrDeadLetterTopic, d.Topic},
		{envelope.AttrDeadLetterPosition, d.Position()},
	} {
		e.SetReserved(attr.name, attr.value)
	}
	return e
}

// original is a copy of the message, and what identifies it. What is no
// envelope is wrapped in one: its bytes as they were, its headers as JSON.
func (a *agent) original(d *transport.Delivery) (*envelope.Envelope, string) {
	if d.Envelope != nil {
		return d.Envelope.Clone(), d.Envelope.Identity()
	}
	e := &envelope.Envelope{
		Source: a.source, Type: RawType, SchemaVersion: 1, Time: time.Now().UTC().Round(0),
		ContentType: "application/octet-stream", Key: printable(d.Raw.Key), Data: d.Raw.Body,
	}
	headers := headersJSON(d.Raw.Headers)
	e.SetReserved(envelope.AttrDeadLetterHeaders, headers)
	if at := d.Position(); at != "" {
		return e, d.Topic + "\n" + at
	}
	return e, d.Topic + "\n" + headers + "\n" + string(d.Raw.Body)
}

// letterID is the same for every dead letter of one input, so that repeats
// collapse.
func letterID(identity, agent string, redrive int) string {
	sum := sha256.Sum256([]byte(strconv.Itoa(len(identity)) + ":" + identity + agent + "\n" + strconv.Itoa(redrive)))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
}

// headersJSON writes raw headers as [{"name":…,"value":…}], in their order; a
// value that is not text stands as "base64" instead.
func headersJSON(headers []driver.Header) string {
	type header struct {
		Name   string `json:"name"`
		Value  string `json:"value,omitempty"`
		Base64 string `json:"base64,omitempty"`
	}
	all := make([]header, 0, len(headers))
	for _, h := range headers {
		entry := header{Name: strings.ToValidUTF8(h.Name, "\ufffd")}
		if utf8.ValidString(h.Value) {
			entry.Value = h.Value
		} else {
			entry.Base64 = base64.StdEncoding.EncodeToString([]byte(h.Value))
		}
		all = append(all, entry)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return "" // strings always marshal
	}
	return string(text)
}

// cut shortens text to most bytes of valid UTF-8.
func cut(text string, most int) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// printable is key, unless it cannot stand in an attribute.
func printable(key string) string {
	if !utf8.ValidString(key) || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
		return ""
	}
	return key
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// fingerprint identifies the place of a panic: a hash of the functions between
// it and the handler's call. Line numbers are left out, so that it outlives
// small edits.
func fingerprint() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(0, pcs[:])])
	hash := sha256.New()
	panicking := false
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "router.(*attempt).call") && panicking {
			break
		}
		if panicking && !strings.HasPrefix(f.Function, "runtime.") {
			hash.Write([]byte(f.Function + "\n"))
		}
		panicking = panicking || f.Function == "runtime.gopanic"
		if !more {
			break
		}
	}
	return strings.ToLower(base32.StdEncoding.EncodeToString(hash.Sum(nil)[:10]))
}

// identified is what events name a delivery by.
func identified(d *transport.Delivery) (id, typ string) {
	if d.Envelope == nil {
		return d.Position(), RawType
	}
	return d.Envelope.ID, d.Envelope.Type
}

// logged is what log lines name a delivery by, always a group; never a payload.
func logged(d *transport.Delivery) any {
	if d.Envelope == nil {
		return slog.GroupValue(slog.String("topic", d.Topic), slog.String("position", d.Position()))
	}
	return d.Envelope
}
