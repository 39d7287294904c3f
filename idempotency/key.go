package idempotency

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"

	"github.com/anywire/anywire/envelope"
)

// Key names a record.
type Key struct {
	// Scope is whose record it is: the system and the consumer group. Stores
	// keep the records of one scope together.
	Scope string
	// Hash stands for the message within its scope: SHA-256 of the type's name
	// and the idempotency key, or of the type's name and the identity.
	Hash [sha256.Size]byte
}

// String is the key as logs and stores show it: the scope, a slash, and the hash
// in hexadecimal.
func (k Key) String() string { return k.Scope + "/" + hex.EncodeToString(k.Hash[:]) }

// ScopeOf is the scope of a consumer group in a system.
func ScopeOf(system, group string) string { return system + "/" + group }

// KeyOf is the key of a message in a scope: by its idempotency key, else by its
// source and id.
func KeyOf(scope string, in *envelope.Envelope) Key {
	if in.IdempotencyKey != "" {
		return NamedKey(scope, in.Type, in.IdempotencyKey)
	}
	return keyOf(scope, 'i', in.Type, in.Source, in.ID)
}

// NamedKey is the key of a message of a type whose idempotency key is name.
func NamedKey(scope, typeName, name string) Key { return keyOf(scope, 'k', typeName, name, "") }

// keyOf hashes fields with their lengths, so that no two lists of them collide;
// kind keeps given keys apart from identities.
func keyOf(scope string, kind byte, typeName, first, second string) Key {
	var stack [512]byte
	fields := append(stack[:0], kind)
	for _, field := range [...]string{typeName, first, second} {
		fields = binary.BigEndian.AppendUint64(fields, uint64(len(field)))
		fields = append(fields, field...)
	}
	return Key{Scope: scope, Hash: sha256.Sum256(fields)}
}

// effect is what [EffectKey] answers for a record: 52 characters of base32.
func (k Key) effect(name string) string {
	var stack [256]byte
	fields := binary.BigEndian.AppendUint64(stack[:0], uint64(len(k.Scope)))
	fields = append(fields, k.Scope...)
	fields = append(fields, k.Hash[:]...)
	fields = append(fields, name...)
	sum := sha256.Sum256(fields)
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])
}

// Token stands for one acquisition of a record: 128 random bits, compared for
// equality only.
type Token [16]byte

// NewToken returns a token that no other acquisition has.
func NewToken() (t Token) {
	_, _ = rand.Read(t[:]) // never fails
	return t
}

// String is the token in hexadecimal.
func (t Token) String() string { return hex.EncodeToString(t[:]) }
