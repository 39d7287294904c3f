package faultproxy

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// Protocol is what a proxy can read.
type Protocol int

// The protocols: of Redis versions 2 and 3 are read, without the subscriptions
// of version 2; of NATS what clients and servers say, without TLS. [Bytes] is any
// other, and those over TLS.
const (
	Bytes Protocol = iota
	Redis
	Kafka
	NATS
)

func (p Protocol) dialect() dialect {
	switch p {
	case Bytes:
	case Redis:
		return &redisDialect{}
	case Kafka:
		return kafkaDialect{}
	case NATS:
		return natsDialect{}
	}
	return nil
}

// dialect finds messages in the bytes of one connection. Both methods give the
// length of the first message in b, which is not empty: 0, if it is not all
// there, -1, if these bytes are no message. A request and its reply have the same
// id; what has no counterpart has none.
type dialect interface {
	request(b []byte) (n int, id string)
	reply(b []byte) (n int, id string)
}

// redisDialect counts: replies come in the order of their requests.
type redisDialect struct{ asked, answered int }

var _ dialect = (*redisDialect)(nil)

func (d *redisDialect) request(b []byte) (int, string) {
	if b[0] != '*' {
		return -1, ""
	}
	n := respSize(b)
	if n <= 0 {
		return n, ""
	}
	d.asked++
	return n, strconv.Itoa(d.asked)
}

func (d *redisDialect) reply(b []byte) (int, string) {
	n := respSize(b)
	if n <= 0 || b[0] == '>' || b[0] == '|' {
		return n, ""
	}
	d.answered++
	return n, strconv.Itoa(d.answered)
}

// respSize is the length of the first value in b.
func respSize(b []byte) int {
	end := bytes.Index(b, []byte("\r\n"))
	if end < 0 {
		return 0
	}
	n := end + 2
	switch b[0] {
	case '+', '-', ':', '_', '#', ',', '(':
		return n
	}
	count, err := strconv.Atoi(string(b[1:end]))
	if err != nil {
		return -1
	}
	switch b[0] {
	case '$', '=', '!':
		if count < 0 { // nothing
			return n
		}
		return whole(b, n+count+2)
	case '%', '|':
		count *= 2
	case '*', '~', '>':
	default:
		return -1
	}
	for range count {
		if n == len(b) {
			return 0
		}
		size := respSize(b[n:])
		if size <= 0 {
			return size
		}
		n += size
	}
	return n
}

func whole(b []byte, n int) int {
	if n > len(b) {
		return 0
	}
	return n
}

// kafkaHeader is the size, the kind, its version and the id of a request.
const kafkaHeader = 4 + 2 + 2 + 4

// kafkaDialect pairs messages by the id that the client has given.
type kafkaDialect struct{}

var _ dialect = kafkaDialect{}

func (kafkaDialect) request(b []byte) (int, string) { return kafkaMessage(b, 8) }
func (kafkaDialect) reply(b []byte) (int, string)   { return kafkaMessage(b, 4) }

func kafkaMessage(b []byte, idAt int) (int, string) {
	if len(b) < 4 {
		return 0, ""
	}
	n := 4 + int(binary.BigEndian.Uint32(b))
	if n < idAt+4 {
		return -1, ""
	}
	if whole(b, n) == 0 {
		return 0, ""
	}
	return n, strconv.Itoa(int(binary.BigEndian.Uint32(b[idAt:])))
}

// natsDialect pairs messages by the subject that an answer is asked on.
type natsDialect struct{}

var _ dialect = natsDialect{}

func (natsDialect) request(b []byte) (int, string) {
	n, fields := natsMessage(b, "PUB", "HPUB")
	answered := len(fields) == 4 && string(fields[0]) == "PUB" || len(fields) == 5
	if !answered {
		return n, ""
	}
	return n, string(fields[2])
}

func (natsDialect) reply(b []byte) (int, string) {
	n, fields := natsMessage(b, "MSG", "HMSG")
	if len(fields) < 2 {
		return n, ""
	}
	return n, string(fields[1])
}

// natsMessage gives the fields of the first line in b if a payload belongs to it,
// which the two names tell.
func natsMessage(b []byte, plain, withHeaders string) (n int, fields [][]byte) {
	end := bytes.Index(b, []byte("\r\n"))
	if end < 0 {
		return 0, nil
	}
	fields = bytes.Fields(b[:end])
	if len(fields) < 2 || string(fields[0]) != plain && string(fields[0]) != withHeaders {
		return end + 2, nil
	}
	size, err := strconv.Atoi(string(fields[len(fields)-1]))
	if err != nil || size < 0 {
		return -1, nil
	}
	return whole(b, end+2+size+2), fields
}
