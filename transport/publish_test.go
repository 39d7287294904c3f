package transport_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

func outgoing(id, key string) *envelope.Envelope {
	return &envelope.Envelope{
		ID: id, Source: "/t", Type: "t.m", SchemaVersion: 1, Key: key, Data: []byte("{}"), ContentType: "application/json",
	}
}

// sent lists the driver's calls as the ids in each.
func (f *fake) sent() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var calls []string
	for _, msgs := range f.published {
		var ids []string
		for _, m := range msgs {
			ids = append(ids, m.Local.(*envelope.Envelope).ID)
		}
		calls = append(calls, strings.Join(ids, " "))
	}
	return calls
}

func TestPublishSendsOneBatch(t *testing.T) {
	t.Parallel()
	f := newFake()
	wire := transport.New(f, nil)
	if err := wire.Publish(t.Context(), "x", outgoing("1", "a"), outgoing("2", "a"), outgoing("3", "")); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(f.sent(), "|"); got != "1 2 3" {
		t.Errorf("calls %q", got)
	}
}

func TestPublishKeepsNothingOfTheCallersEnvelope(t *testing.T) {
	t.Parallel()
	f := newFake()
	e := outgoing("1", "a")
	if err := transport.New(f, nil).Publish(t.Context(), "x", e); err != nil {
		t.Fatal(err)
	}
	e.ID = "changed"
	if got := f.sent()[0]; got != "1" {
		t.Errorf("published id became %q", got)
	}
}

func TestWithoutOrderedPublishAKeyGoesInWaves(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.caps.OrderedPublish = false
	var es []*envelope.Envelope
	for i, key := range []string{"a", "b", "a", "", "a", "b", ""} {
		es = append(es, outgoing(strconv.Itoa(i), key))
	}
	if err := transport.New(f, nil).Publish(t.Context(), "x", es...); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(f.sent(), "|"); got != "0 1 3 6|2 5|4" {
		t.Errorf("calls %q", got)
	}
}

func TestAfterAFailureTheRestOfTheKeyIsNotAttempted(t *testing.T) {
	t.Parallel()
	for _, ordered := range []bool{false, true} {
		t.Run(strconv.FormatBool(ordered), func(t *testing.T) {
			t.Parallel()
			f := newFake()
			f.caps.OrderedPublish = ordered
			down := errors.New("no answer")
			f.publish = func(msgs []*driver.Message) error {
				failed := driver.BatchError{}
				for i, m := range msgs {
					if m.Key == "a" {
						failed[i] = down
					}
				}
				return failed.Err()
			}
			tooLarge := outgoing("3", "b")
			tooLarge.Data = make([]byte, 1<<20)
			err := transport.New(f, nil).Publish(t.Context(), "x",
				outgoing("0", "a"), outgoing("1", "b"), outgoing("2", "a"), tooLarge, outgoing("4", "b"), outgoing("5", "c"))
			var failed driver.BatchError
			if !errors.As(err, &failed) || len(failed) != 4 {
				t.Fatalf("answers %v", err)
			}
			if !errors.Is(failed[0], down) || !errors.Is(failed[3], envelope.TooLarge) ||
				!errors.Is(failed[2], envelope.NotAttempted) || !errors.Is(failed[4], envelope.NotAttempted) {
				t.Errorf("answers %v", failed)
			}
		})
	}
}

func TestOneEnvelopesErrorIsItsOwn(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.publish = func([]*driver.Message) error {
		return driver.BatchError{0: fmt.Errorf("payload: %w", driver.ErrTooLarge)}
	}
	err := transport.New(f, &transport.Options{Name: "w"}).Publish(t.Context(), "x", outgoing("1", ""))
	if batch := driver.BatchError(nil); errors.As(err, &batch) && len(batch) > 0 {
		t.Errorf("answers a batch: %v", err)
	}
	const want = `publish to "x" on transport "w": payload: too large: ` +
		`raise what the transport takes (max_body, and the broker's own limit), or send a reference`
	if !errors.Is(err, envelope.TooLarge) || !errors.Is(err, driver.ErrTooLarge) || err.Error() != want {
		t.Errorf("answers %v\nwant    %s", err, want)
	}
}

func TestWhatTheWireDoesNotCarryIsRefusedBeforeTheBroker(t *testing.T) {
	t.Parallel()
	f := newFake()
	later := outgoing("1", "")
	later.DeliverAt = time.Now().Add(time.Hour)
	for want, e := range map[envelope.Code]*envelope.Envelope{
		envelope.Invalid:     outgoing("", ""),
		envelope.Unsupported: later,
	} {
		if err := transport.New(f, nil).Publish(t.Context(), "x", e); !errors.Is(err, want) {
			t.Errorf("want %v, got %v", want, err)
		}
	}
	if len(f.sent()) > 0 {
		t.Errorf("sent %v", f.sent())
	}
}

func TestLimitsHoldOnReceiptToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var got error
		var read *envelope.Envelope
		r := subscribe(t, f, nil, func(_ context.Context, d *transport.Delivery) transport.Outcome {
			got, read = d.DecodeErr, d.Envelope
			return transport.Done()
		})
		m := message("1", "")
		m.Local.(*envelope.Envelope).Data = make([]byte, 1<<20)
		f.source(0).push(m)
		wantOutcomes(t, f.source(0), "1:ack")
		if err := r.end(); err != nil || !errors.Is(got, envelope.TooLarge) {
			t.Errorf("got %v, end %v", got, err)
		}
		if read == nil || read.ID != "1" {
			t.Errorf("envelope %v: what can be read keeps its identity in the dead letters", read)
		}
	})
}

func TestDeadLettersAreSparedTheLimits(t *testing.T) {
	t.Parallel()
	f := newFake()
	e := outgoing("1", "")
	e.Data = make([]byte, 1<<20)
	e.SetReserved("dlreason", "too_large")
	e.SetReserved("dlid", "d1")
	f.caps.Dedup = true
	if err := transport.New(f, nil).Publish(t.Context(), "x", e); err != nil {
		t.Fatal(err)
	}
	if got := f.published[0][0].DedupID; got != "d1" {
		t.Errorf("deduplication id %q", got)
	}
}
