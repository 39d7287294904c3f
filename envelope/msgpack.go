package envelope

import (
	"encoding/binary"
	"maps"
	"slices"
)

// Watermill's adapter for Redis Streams writes metadata as a map of strings in
// MessagePack, which is all of that format that is read and written here.

// The first bytes of MessagePack's values, or the lowest of them where some bits
// are the length.
const (
	packFixMap = 0x80
	packFixStr = 0xa0
	packNil    = 0xc0
	packBin8   = 0xc4
	packBin16  = 0xc5
	packBin32  = 0xc6
	packStr8   = 0xd9
	packStr16  = 0xda
	packStr32  = 0xdb
	packMap16  = 0xde
	packMap32  = 0xdf
)

// packMap writes a map of strings, sorted by name.
func packMap(m map[string]string) []byte {
	size := 5
	for name, value := range m {
		size += 10 + len(name) + len(value)
	}
	out := make([]byte, 0, size)
	switch n := len(m); {
	case n < 16:
		out = append(out, packFixMap|byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, packMap16), uint16(n))
	default:
		out = binary.BigEndian.AppendUint32(append(out, packMap32), uint32(n))
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = packString(packString(out, name), m[name])
	}
	return out
}

func packString(out []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		out = append(out, packFixStr|byte(n))
	case n < 1<<8:
		out = append(out, packStr8, byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, packStr16), uint16(n))
	default:
		out = binary.BigEndian.AppendUint32(append(out, packStr32), uint32(n))
	}
	return append(out, s...)
}

// unpackMap reads a map of strings; empty text, as the adapter writes it where
// there is no metadata, and nil are an empty one. The reason is empty where it
// succeeded.
func unpackMap(packed string) (m map[string]string, reason string) {
	m = map[string]string{}
	if packed == "" || packed == string([]byte{packNil}) {
		return m, ""
	}
	r := unpacker{rest: packed}
	for n := r.mapLength(); n > 0 && r.reason == ""; n-- {
		name := r.text()
		m[name] = r.text()
	}
	if r.reason == "" && r.rest != "" {
		r.reason = "has bytes after its map"
	}
	return m, r.reason
}

// unpacker reads values one after the other, until it finds a reason not to.
type unpacker struct{ rest, reason string }

func (u *unpacker) mapLength() int {
	switch first := u.byte(); {
	case first&0xf0 == packFixMap:
		return int(first & 0x0f)
	case first == packMap16:
		return u.length(2)
	case first == packMap32:
		return u.length(4)
	}
	u.fail("is no map in MessagePack")
	return 0
}

// text reads a string, or bytes.
func (u *unpacker) text() string {
	n := 0
	switch first := u.byte(); {
	case first&0xe0 == packFixStr:
		n = int(first & 0x1f)
	case first == packStr8 || first == packBin8:
		n = u.length(1)
	case first == packStr16 || first == packBin16:
		n = u.length(2)
	case first == packStr32 || first == packBin32:
		n = u.length(4)
	default:
		u.fail("holds a name or value that is no string in MessagePack")
	}
	return u.take(n)
}

// length reads a number of that many bytes.
func (u *unpacker) length(bytes int) int {
	n := 0
	for _, c := range []byte(u.take(bytes)) {
		n = n<<8 | int(c)
	}
	return n
}

func (u *unpacker) byte() byte {
	if first := u.take(1); first != "" {
		return first[0]
	}
	return 0
}

func (u *unpacker) take(n int) string {
	if u.reason != "" {
		return ""
	}
	if n > len(u.rest) {
		u.fail("ends within its map")
		return ""
	}
	taken := u.rest[:n]
	u.rest = u.rest[n:]
	return taken
}

func (u *unpacker) fail(reason string) {
	if u.reason == "" {
		u.reason = reason
	}
}
