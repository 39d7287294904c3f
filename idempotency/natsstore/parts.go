package natsstore

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/idempotency"
)

// What is too large for one message is kept under several keys, below that of the
// record, which then is without outputs and steps and says in a header where they
// are. Parts are written before the record that names them, under a name of their
// own each time, so that a reader never sees some of one attempt and some of
// another. They go when the record does not name them any more.
type parts struct {
	name  string // random
	count int
	size  int
	sum   string // SHA-256, its first half in hexadecimal
}

const (
	expectHeader = "Nats-Expected-Last-Subject-Sequence"
	ownerHeader  = "Anywire-Owner"
	partsHeader  = "Anywire-Parts"
	ttlHeader    = "Nats-TTL"
)

// mostParts bounds what a record can make us ask for.
const mostParts = 1 << 16

func (p parts) isZero() bool { return p.count == 0 }

func (p parts) String() string {
	if p.isZero() {
		return ""
	}
	return fmt.Sprintf("%s %d %d %s", p.name, p.count, p.size, p.sum)
}

func parseParts(text string) (p parts, err error) {
	if text == "" {
		return p, nil
	}
	if n, _ := fmt.Sscanf(text, "%s %d %d %s", &p.name, &p.count, &p.size, &p.sum); n != 4 || p.count < 1 || p.count > mostParts ||
		p.size < p.count || strings.ContainsAny(p.name, ".*>") {
		return parts{}, fmt.Errorf("header %s %.80q: %w", partsHeader, text, idempotency.ErrUnreadable)
	}
	return p, nil
}

func (p parts) subject(record string, i int) string {
	return record + "." + p.name + "." + strconv.Itoa(i)
}

// split cuts a document, and returns the messages that keep it.
func split(subject string, doc []byte, room int, ttl string) (parts, []request) {
	p := parts{name: newName(), size: len(doc), sum: sumOf(doc)}
	var requests []request
	for ; len(doc) > 0; p.count++ {
		n := min(room, len(doc))
		requests = append(requests, request{subject: p.subject(subject, p.count), data: doc[:n], ttl: ttl})
		doc = doc[n:]
	}
	return p, requests
}

var errParts = errors.New("a part of it is missing or damaged")

// join reads the answers to requests for the parts.
func (p parts) join(answers []request) ([]byte, error) {
	var doc []byte
	for i := range answers {
		if answers[i].reply == nil {
			return nil, answers[i].err
		}
		if status := answers[i].reply.Header.Get("Status"); status != "" {
			return nil, errParts
		}
		doc = append(doc, answers[i].reply.Data...)
	}
	if len(doc) != p.size || sumOf(doc) != p.sum {
		return nil, errParts
	}
	return doc, nil
}

func newName() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func sumOf(doc []byte) string {
	sum := sha256.Sum256(doc)
	return hex.EncodeToString(sum[:16])
}

// discard removes parts that no record names. Nobody waits for it: what is left,
// the bucket drops with time.
func (s *Store) discard(subject string, p parts) {
	if p.isZero() {
		return
	}
	filter, err := json.Marshal(map[string]string{"filter": subject + "." + p.name + ".*"})
	if err != nil {
		return
	}
	_ = s.nc.PublishMsg(&nats.Msg{Subject: s.api + "STREAM.PURGE." + s.bucket.name, Reply: s.wire.nobody(), Data: filter})
}
