package redisdriver

import (
	"context"
	"encoding"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/transport/driver"
)

// xadd is the command that stores one message. It is used again: its arguments
// point into itself, so that writing a message allocates nothing, and the copy of
// the headers lets the caller go before the command is written.
type xadd struct {
	*redis.StringCmd

	args    []any
	stream  *string
	key     string
	headers []driver.Header
	id      entryID
	body    payload
	packed  payload

	sent bool  // the client began to write it
	err  error // why it is not stored
}

var _ redis.Cmder = (*xadd)(nil)

// Args are what go-redis writes.
func (x *xadd) Args() []any { return x.args }

// NoRetry keeps go-redis from storing a message twice when a reply is lost.
func (x *xadd) NoRetry() bool { return true }

// payload is written without a copy.
type payload []byte

var _ encoding.BinaryMarshaler = (*payload)(nil)

// MarshalBinary gives the bytes as they are.
func (p *payload) MarshalBinary() ([]byte, error) { return *p, nil }

// entryID is the id that lets the server choose one. It notes that the command is
// being written: from then on nobody knows whether it is stored.
type entryID struct {
	x    *xadd
	text [1]byte
}

var _ encoding.BinaryMarshaler = (*entryID)(nil)

// MarshalBinary is called when the command is written, and not before.
func (e *entryID) MarshalBinary() ([]byte, error) {
	e.x.sent = true
	e.text[0] = '*'
	return e.text[:], nil
}

func newXadd() *xadd {
	x := &xadd{}
	x.id.x = x
	return x
}

// fill prepares the command for m. In a Cluster the client finds the node by the
// arguments that the embedded command has.
func (x *xadd) fill(stream *string, m *driver.Message, packed, cluster bool) {
	if x.StringCmd == nil || cluster {
		x.StringCmd = redis.NewStringCmd(context.Background(), "xadd", *stream)
	}
	x.SetErr(nil)
	x.SetVal("")
	x.stream, x.key, x.body = stream, m.Key, m.Body
	x.sent, x.err = false, nil
	x.args = append(x.args[:0], "xadd", stream, &x.id)
	if packed {
		x.packed, x.headers = pack(x.packed[:0], m.Headers, m.Key, x.headers[:0])
		x.args = append(x.args, packedField, &x.packed)
	} else {
		x.headers = append(x.headers[:0], m.Headers...)
	}
	hasKey := packed || m.Key == ""
	for i := range x.headers {
		h := &x.headers[i]
		hasKey = hasKey || h.Name == keyField
		x.args = append(x.args, &h.Name, &h.Value)
	}
	if !hasKey {
		x.args = append(x.args, keyField, &x.key)
	}
	switch {
	case m.Body != nil:
		x.args = append(x.args, bodyField, &x.body)
	case len(x.args) == firstField: // an entry has one field at least
		x.args = append(x.args, packedField, "{}")
	}
}

// firstField is where the fields begin among the arguments.
const firstField = 3

// stored reports whether the server answered with the entry's id.
func (x *xadd) stored() bool { return x.Val() != "" && x.Val() != queuedReply }

// queuedReply is the answer to a command within a transaction.
const queuedReply = "QUEUED"

// release drops what belongs to the caller.
func (x *xadd) release() {
	clear(x.args)
	clear(x.headers)
	x.stream, x.key, x.body, x.err = nil, "", nil, nil
}
