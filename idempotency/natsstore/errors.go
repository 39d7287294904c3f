package natsstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	errClosed       = errors.New("the store is closed")
	errDisconnected = errors.New("connection to NATS lost: trying again for ever")
	errNoAnswer     = fmt.Errorf("no answer within %v", patience)
	// errLost marks a request whose outcome is not known.
	errLost = errors.New("outcome unknown")
	// errNoStream is the answer where nobody stores what is sent to a subject.
	errNoStream = errors.New("JetStream does not answer: the bucket is gone, or the server is starting or has no leader")
	// errConflict is the answer of a key that has another revision.
	errConflict = errors.New("revision is another")
	// errBusy is the answer of a server that has too much to do.
	errBusy = errors.New("the server has too many requests waiting")
)

// Codes of the server's answers that jetstream has no name for.
const (
	codeWrongSequence      = 10071
	codeWrongSequenceNow   = 10164 // a write to the same key is on its way in the cluster
	codeTooManyRequests    = 10167
	codeMaximumMessageSize = 10054
)

// lost marks what may have been done, or may be tried again.
func lost(err error) error {
	if errors.Is(err, nats.ErrConnectionClosed) {
		return errClosed
	}
	if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) {
		return err
	}
	return fmt.Errorf("%w: %w", errLost, err)
}

// ended is why ctx did; it wraps ctx.Err() in any case.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// stored reads the confirmation of a write: the revision, or why there is none.
// stream is what confirms.
func (r *request) stored(stream string) (revision uint64, err error) {
	if r.err != nil {
		return 0, r.err
	}
	if isNobody(r.reply) {
		return 0, errNoStream
	}
	if n, ok := plain(r.reply.Data, stream); ok {
		return n, nil
	}
	var answer struct {
		Error  *jetstream.APIError `json:"error"`
		Stream string              `json:"stream"`
		Seq    uint64              `json:"seq"`
	}
	if err := json.Unmarshal(r.reply.Data, &answer); err != nil {
		return 0, fmt.Errorf("confirmation %.60q is not of JetStream: does another responder listen on the subject? %w", r.reply.Data, err)
	}
	if answer.Error != nil {
		return 0, refused(answer.Error)
	}
	if answer.Stream != stream {
		return 0, fmt.Errorf("stored in stream %q instead of %q: it took the subject over", answer.Stream, stream)
	}
	return answer.Seq, nil
}

// plain reads {"stream":"NAME","seq":1}, which is what comes most of the time.
func plain(doc []byte, stream string) (revision uint64, ok bool) {
	const before, between, after = `{"stream":"`, `","seq":`, '}'
	n := len(before) + len(stream) + len(between)
	if len(doc) <= n+1 || doc[len(doc)-1] != after || string(doc[:len(before)]) != before ||
		string(doc[len(before):len(before)+len(stream)]) != stream || string(doc[n-len(between):n]) != between {
		return 0, false
	}
	for _, c := range doc[n : len(doc)-1] {
		if c < '0' || c > '9' {
			return 0, false
		}
		revision = 10*revision + uint64(c-'0')
	}
	return revision, true
}

func refused(err *jetstream.APIError) error {
	switch err.ErrorCode {
	case codeWrongSequence, codeWrongSequenceNow:
		return errConflict
	case codeTooManyRequests:
		return fmt.Errorf("%w: %w", errBusy, err)
	}
	return err
}

func isNobody(m *nats.Msg) bool { return len(m.Data) == 0 && m.Header.Get("Status") == "503" }
