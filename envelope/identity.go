package envelope

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strconv"
)

// Identity is the pair of Source and ID as one string that no other pair has:
// how many bytes Source has, then Source itself, then ID, joined by colons.
func (e *Envelope) Identity() string {
	return strconv.Itoa(len(e.Source)) + ":" + e.Source + ":" + e.ID
}

// Fingerprint is the SHA-256 of what the message says: Type, SchemaVersion and
// Data, each preceded by its length (docs/wire.md gives the exact bytes). Two
// messages with one identity and different fingerprints are a mistake of the
// sender.
func (e *Envelope) Fingerprint() [sha256.Size]byte {
	var stack [256]byte
	head := appendField(stack[:0], e.Type)
	head = appendField(head, strconv.Itoa(e.SchemaVersion))
	head = binary.BigEndian.AppendUint64(head, uint64(len(e.Data)))
	hash := sha256.New()
	hash.Write(head)
	hash.Write(e.Data)
	var sum [sha256.Size]byte
	hash.Sum(sum[:0])
	return sum
}

// DedupID is what a broker may drop repeated publishes by: base32, without
// padding, of the SHA-256 of Source, ID, topic and Redrive. The bare ID would
// drop another source's message, the same message in another topic, and a
// message that an operator sends again.
func (e *Envelope) DedupID(topic string) string {
	var stack [512]byte
	fields := appendField(stack[:0], e.Source)
	fields = appendField(fields, e.ID)
	fields = appendField(fields, topic)
	fields = appendField(fields, strconv.Itoa(e.Redrive))
	sum := sha256.Sum256(fields)
	var text [52]byte // 256 bits in groups of five
	base32.StdEncoding.WithPadding(base32.NoPadding).Encode(text[:], sum[:])
	return string(text[:])
}

// OutputID is the id of a handler's output, in the form of a UUID (version 8):
// the same for the same system, agent, input, slot and output, different if one
// of them differs. Slot is the output's place among those of its input, an index
// or a name. Of the output only Type, SchemaVersion and Data count: an attempt
// that makes the same bytes again makes the same ids, and one id never has two
// bodies.
func OutputID(system, agent string, in *Envelope, slot string, out *Envelope) string {
	fingerprint := out.Fingerprint()
	var stack [512]byte
	fields := appendField(stack[:0], system)
	fields = appendField(fields, agent)
	fields = appendField(fields, in.Source)
	fields = appendField(fields, in.ID)
	fields = appendField(fields, slot)
	fields = append(fields, fingerprint[:]...)
	sum := sha256.Sum256(fields)
	id := [16]byte(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return formatUUID(id)
}

// appendField appends the length of value, as eight bytes with the highest
// first, and value: fields written so cannot be confused with others.
func appendField(dst []byte, value string) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(len(value)))
	return append(dst, value...)
}
