package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

// Begin implements [idempotency.Store].
func (s *Store) Begin(ctx context.Context, claims []idempotency.Claim) ([]idempotency.Verdict, error) {
	if len(claims) == 0 {
		return nil, s.usable()
	}
	verdicts := make([]idempotency.Verdict, len(claims))
	err := s.run(ctx, task{
		script: beginScript, count: len(claims), parts: 2,
		item:  func(i int) (*idempotency.Key, time.Duration) { return &claims[i].Key, claims[i].TTL },
		write: func(w *writer, i int, mark func()) { w.fresh(&claims[i]); mark() },
		answer: func(i int, key string, answer any) error {
			return decide(&verdicts[i], key, answer)
		},
	})
	if err != nil {
		return nil, err
	}
	return verdicts, nil
}

// decide reads the answer to one claim.
func decide(v *idempotency.Verdict, key string, answer any) error {
	text, ok := answer.(string)
	switch {
	case answer == int64(0):
		v.State = idempotency.Acquired
		return nil
	case !ok || text == "":
		return errReply
	}
	r := reader{rest: text[1:]}
	switch text[0] {
	case 'A':
		v.State = idempotency.Acquired
		v.Attempts, v.Deaths, v.DeathsAlone = int(r.number(4)), int(r.number(4)), int(r.number(4))
		v.Steps = r.steps()
	case 'B':
		v.State = idempotency.Busy
		left, err := strconv.ParseInt(r.rest, 10, 64)
		v.Until, r.err = time.Duration(left)*time.Millisecond, err
	case 'D':
		v.State, v.Took = idempotency.Done, time.Duration(r.number(8))
		if r.err == nil && r.rest != "" {
			v.Outputs, r.err = idempotency.UnmarshalOutputs([]byte(r.rest))
		}
	case 'M':
		v.State = idempotency.Mismatch
		copy(v.Fingerprint[:], r.rest)
	case 'F':
		v.State, v.Failure = idempotency.Failed, r.failure()
	case 'E':
		r.err = errors.New(r.rest)
	default:
		return errReply
	}
	if r.err != nil {
		*v = idempotency.Verdict{State: idempotency.Broken, Err: unreadable(key, r.err)}
	}
	return nil
}

// steps reads the results of steps; of two with one name the last counts.
func (r *reader) steps() map[string][]byte {
	var steps map[string][]byte
	for r.err == nil && r.rest != "" {
		if steps == nil {
			steps = map[string][]byte{}
		}
		name := r.text()
		steps[name] = []byte(r.text())
	}
	return steps
}

// failure reads why a message failed.
func (r *reader) failure() *idempotency.Failure {
	f := &idempotency.Failure{Reason: envelope.Code(r.text()), Message: r.text(), Attempts: int(r.number(4))}
	if r.err == nil && r.rest != "" {
		r.err = fmt.Errorf("%d bytes behind its failure", len(r.rest))
	}
	return f
}
