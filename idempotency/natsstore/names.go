package natsstore

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"

	"github.com/anywire/anywire/idempotency"
)

const (
	// mostBucket leaves room for what the server puts before the name.
	mostBucket = 200
	// mostScope is the longest token that stands for a scope: subjects have a
	// limit, and the server keeps them in memory.
	mostScope = 120
)

// bucketName is the name behind a prefix. Buckets know only letters, digits, "-"
// and "_": any other byte, and "-", is "-" and its hexadecimal value.
func bucketName(prefix string) string {
	var b strings.Builder
	for i := range len(prefix) {
		if c := prefix[i]; c != '-' && isPlain(rune(c)) {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('-')
		b.WriteString(hex.EncodeToString([]byte{prefix[i]}))
	}
	return b.String() + DefaultBucket
}

func isPlain(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// scopeToken is a scope within a key: one token, so that "scope.*" lists its
// records. The slash between system and group stays; what keys do not know is "="
// and its hexadecimal value.
func scopeToken(scope string) string {
	if scope == "" {
		return "="
	}
	var b strings.Builder
	for i := range len(scope) {
		if c := scope[i]; c == '/' || isPlain(rune(c)) {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('=')
		b.WriteString(hex.EncodeToString([]byte{scope[i]}))
	}
	if b.Len() > mostScope {
		sum := sha256.Sum256([]byte(scope))
		return "==" + hex.EncodeToString(sum[:])
	}
	return b.String()
}

// subjects makes the subjects of keys.
type subjects struct {
	stem   string // of all keys of the bucket
	scopes sync.Map
}

func (s *subjects) of(k *idempotency.Key) string {
	var stem string
	if known, ok := s.scopes.Load(k.Scope); ok {
		stem, _ = known.(string)
	} else {
		stem = s.stem + scopeToken(k.Scope) + "."
		s.scopes.Store(strings.Clone(k.Scope), stem)
	}
	var stack [512]byte
	return string(hex.AppendEncode(append(stack[:0], stem...), k.Hash[:]))
}
