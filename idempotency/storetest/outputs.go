package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

func outputCases() []Case {
	return []Case{
		{
			Name:     "output/none-is-settled",
			Sentence: "Complete without outputs settles the record at once: done, and nothing to publish.",
			run:      outputNone,
		},
		{
			Name:     "output/answered",
			Sentence: "Done answers the outputs that were recorded, in order, equal in every attribute and byte.",
			run:      outputAnswered,
		},
		{
			Name:     "output/until-settled",
			Sentence: "Outputs are answered as often as the message comes, until somebody settles the record.",
			run:      outputUntilSettled,
		},
		{
			Name:     "output/settled-by-anyone",
			Sentence: "Settle holds whatever the token.",
			run:      outputSettledByAnyone,
		},
		{
			Name:     "output/settle-is-for-completed",
			Sentence: "Settle holds for a record in any other phase, and for none, and changes nothing.",
			run:      outputSettleOthers,
		},
		{
			Name:     "output/complete-repeated",
			Sentence: "A store answers a repeated Complete as it answered the first, also when the record is settled.",
			run:      outputRepeated,
		},
		{
			Name:     "output/took",
			Sentence: "Took is how long the handler ran; duplicates learn it, before and after settling.",
			run:      outputTook,
		},
		{
			Name:     "output/redrive-is-done",
			Sentence: "A redrive does not open a record of a message that succeeded.",
			run:      outputRedrive,
		},
		{
			Name:     "output/large",
			Sentence: "Outputs are kept up to the store's limit.",
			run:      outputLarge,
		},
		{
			Name:     "output/too-large",
			Sentence: "TooLarge answers outputs that the store can never take; the record stays in progress.",
			Needs:    []Need{needMaxOutputs},
			run:      outputTooLarge,
		},
	}
}

// output is a message with every attribute that there is; n tells it from
// others.
func (e *env) output(n int) *envelope.Envelope {
	made := time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.UTC)
	return &envelope.Envelope{
		ID: fmt.Sprintf("id-%d", n), Source: "/agents/ünder \"score\"", Type: "storetest.output", SchemaVersion: 3 + n,
		Hops: 4, Redrive: 2, Subject: "a subject, with 100% of: {signs}", Key: "key ' -- ;", Time: made, Expires: made.AddDate(1, 0, n),
		ContentType: "application/json", DataSchema: "https://example.com/schema?a=b&c=d#e",
		CorrelationID: "correlation", CausationID: "causation", IdempotencyKey: "idempotency", ReplyTo: "a.topic",
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", TraceState: "a=b,c=d",
		Extensions: map[string]string{"one": "ü 世界 🙂", "two": "", "0": " spaces "},
		Data:       []byte("{\"n\": 1}\x00\r\n\xff"), Topic: "topic.of/output", DeliverAt: made.Add(time.Duration(n) * time.Hour),
	}
}

// outputs are different ones, the barest included.
func (e *env) outputs() []*envelope.Envelope {
	empty, none := e.output(1), e.output(2)
	empty.Data, none.Data = []byte{}, nil
	bare := &envelope.Envelope{ID: "1", Source: "/", Type: "t", SchemaVersion: 1}
	return []*envelope.Envelope{e.output(0), empty, none, bare, e.output(4)}
}

// sized is one output with a payload of n bytes.
func (e *env) sized(id, n int) *envelope.Envelope {
	out := e.output(id)
	pattern := fmt.Sprintf("%d\x00\xff%d;", id, n)
	out.Data = []byte(strings.Repeat(pattern, n/len(pattern)+1)[:n])
	return out
}

// wantOutputs compares field by field: payloads are too long to print.
func (e *env) wantOutputs(v idempotency.Verdict, want ...*envelope.Envelope) {
	e.Helper()
	if len(v.Outputs) != len(want) {
		e.Fatalf("%s, want %d outputs", show(v), len(want))
	}
	for i, one := range want {
		if v.Outputs[i] == nil {
			e.Fatalf("output %d is nil", i)
		}
		for _, difference := range differences(v.Outputs[i], one) {
			e.Errorf("output %d: %s", i, difference)
		}
	}
}

func differences(got, want *envelope.Envelope) []string {
	var all []string
	g, w := reflect.ValueOf(got).Elem(), reflect.ValueOf(want).Elem()
	for _, field := range reflect.VisibleFields(w.Type()) {
		if !field.IsExported() {
			continue
		}
		x, y := g.FieldByIndex(field.Index).Interface(), w.FieldByIndex(field.Index).Interface()
		switch b := y.(type) {
		case []byte:
			a, _ := x.([]byte)
			if !bytes.Equal(a, b) || (a == nil) != (b == nil) {
				all = append(all, fmt.Sprintf("%s of %d bytes (nil: %v), want %d (nil: %v), or they differ",
					field.Name, len(a), a == nil, len(b), b == nil))
			}
		case time.Time:
			if a, _ := x.(time.Time); !a.Equal(b) {
				all = append(all, fmt.Sprintf("%s is %v, want %v", field.Name, a, b))
			}
		default:
			if !reflect.DeepEqual(x, y) {
				all = append(all, fmt.Sprintf("%s is %#v, want %#v", field.Name, x, y))
			}
		}
	}
	return all
}

func outputNone(e *env) {
	c := e.claim("a")
	e.w.acquire(c)
	e.w.do(complete(c))
	for _, w := range []*worker{e.w, e.process()} {
		e.wantOutputs(w.want(again(c), idempotency.Done))
	}
}

func outputAnswered(e *env) {
	c := e.claim("a")
	e.w.acquire(c)
	e.w.do(complete(c, e.outputs()...))
	e.wantOutputs(e.process().want(again(c), idempotency.Done), e.outputs()...)
}

func outputUntilSettled(e *env) {
	c := e.claim("a")
	e.w.acquire(c)
	e.w.do(complete(c, e.output(0)))
	for range 3 {
		e.wantOutputs(e.w.want(again(c), idempotency.Done), e.output(0))
		e.wantOutputs(e.process().want(again(c), idempotency.Done), e.output(0))
	}
	e.w.do(settle(c))
	for range 2 {
		e.wantOutputs(e.w.want(again(c), idempotency.Done))
		e.wantOutputs(e.process().want(again(c), idempotency.Done))
	}
	e.w.do(settle(c))
}

func outputSettledByAnyone(e *env) {
	c, nobody := e.claim("a"), e.claim("b")
	e.w.acquire(c)
	e.w.acquire(nobody)
	e.w.do(complete(c, e.output(0)), complete(nobody, e.output(1)))
	other := e.process()
	other.want(again(c), idempotency.Done)
	other.do(settle(again(c)))
	e.wantOutputs(e.w.want(again(c), idempotency.Done))
	other.do(idempotency.Change{Key: nobody.Key, Op: idempotency.Settle, TTL: e.h.Keep})
	e.wantOutputs(e.w.want(again(nobody), idempotency.Done))
}

func outputSettleOthers(e *env) {
	none := e.claim("none")
	e.w.do(settle(none))
	e.wantNumbers(e.w.acquire(none), 0, 0, 0)

	held := e.claim("held")
	e.w.acquire(held)
	e.w.do(settle(held), settle(again(held)))
	e.w.busy(again(held))
	e.w.do(extend(held), release(held, true), settle(held))
	e.wantNumbers(e.w.acquire(again(held)), 1, 0, 0)

	dying := e.brief("dying")
	e.w.acquire(dying)
	for begun := time.Now(); e.w.begin(again(dying))[0].State == idempotency.Busy; e.pause(e.h.Lease / 20) {
		e.process().do(settle(again(dying)))
		if time.Since(begun) > e.h.Patience {
			e.Fatalf("the record is busy after %v: settling it extends its lease of %v", time.Since(begun), dying.Lease)
		}
	}

	failed := e.claim("failed")
	e.w.acquire(failed)
	e.w.do(fail(failed), settle(failed))
	e.wantFailure(e.w.want(again(failed), idempotency.Failed), fail(failed))
}

func outputRepeated(e *env) {
	c, none := e.claim("a"), e.claim("none")
	e.w.acquire(c)
	e.w.acquire(none)
	for _, w := range []*worker{e.w, e.w, e.process()} {
		w.do(complete(c, e.output(0)), complete(none))
	}
	e.wantOutputs(e.w.want(again(c), idempotency.Done), e.output(0))
	e.w.do(settle(c))
	for _, w := range []*worker{e.w, e.process()} {
		w.do(complete(c, e.output(0)))
		e.wantOutputs(w.want(again(c), idempotency.Done))
	}
}

func outputTook(e *env) {
	c := e.claim("a")
	e.w.acquire(c)
	e.w.do(complete(c, e.output(0)))
	check := func() {
		e.Helper()
		v := e.process().want(again(c), idempotency.Done)
		if v.Took.Milliseconds() != took.Milliseconds() {
			e.Errorf("it took %v, want %v", v.Took, took)
		}
	}
	check()
	e.w.do(settle(c))
	check()
}

func outputRedrive(e *env) {
	c, settled := e.claim("a"), e.claim("settled")
	e.w.acquire(c)
	e.w.acquire(settled)
	e.w.do(complete(c, e.output(0)), complete(settled))
	e.wantOutputs(e.process().want(redriven(c, 5), idempotency.Done), e.output(0))
	e.wantOutputs(e.process().want(redriven(settled, 5), idempotency.Done))
}

// outputLarge sends one payload of a megabyte, then as many as fit into the
// limit.
func outputLarge(e *env) {
	const megabyte, part = 1 << 20, 64 << 10
	room := e.h.MaxOutputs
	if room == 0 {
		room = 4 * megabyte
	}
	one := []*envelope.Envelope{e.sized(0, min(room, megabyte))}
	var many []*envelope.Envelope
	for ; room > 0; room -= part {
		many = append(many, e.sized(len(many), min(room, part)))
	}
	for i, outputs := range [][]*envelope.Envelope{one, many} {
		c := e.claim(fmt.Sprintf("message-%d", i))
		e.w.acquire(c)
		e.w.do(complete(c, outputs...))
		e.wantOutputs(e.process().want(again(c), idempotency.Done), outputs...)
		e.w.do(settle(c))
		e.wantOutputs(e.process().want(again(c), idempotency.Done))
	}
}

func outputTooLarge(e *env) {
	c, small := e.claim("large"), e.claim("small")
	e.w.acquire(c)
	e.w.acquire(small)
	errs := e.w.update(complete(c, e.sized(0, e.h.MaxOutputs), e.sized(1, e.h.MaxOutputs)), complete(small, e.output(0)))
	if !errors.Is(errs[0], envelope.TooLarge) {
		e.Errorf("Complete with twice the most that fits: error %v, want one with the code %q", errs[0], envelope.TooLarge)
	}
	e.mustf(errs[1], "its neighbour in the batch")
	e.process().busy(again(c))
	e.w.do(extend(c), complete(c, e.output(0)))
	e.wantOutputs(e.process().want(again(c), idempotency.Done), e.output(0))
}
