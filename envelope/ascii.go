package envelope

// Most values are plain ASCII, and finding that out is most of the work of a
// mapper: these functions look at eight bytes at once. A mask has the high bit
// of each byte that is meant; where a byte is not ASCII its own is set and those
// of the others do not matter.

const (
	everyByte = 0x0101010101010101
	highBits  = 0x80 * everyByte
)

// isPrintable reports whether s is printable ASCII, space included.
func isPrintable(s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		if unprintable(load(s)) != 0 {
			return false
		}
	}
	return unprintable(loadRest(s)) == 0
}

// isHeaderSafe reports whether s stays as it is where values are
// percent-encoded.
func isHeaderSafe(s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		if unsafeInHeader(load(s)) != 0 {
			return false
		}
	}
	return unsafeInHeader(loadRest(s)) == 0
}

// unprintable masks what is not from ' ' to '~'.
func unprintable(x uint64) uint64 {
	tooLow := ^(x + (0x80-' ')*everyByte)
	tooHigh := x + everyByte
	return (x | tooLow | tooHigh) & highBits
}

// unsafeInHeader masks what is not from '!' to '~', and '"' and '%'.
func unsafeInHeader(x uint64) uint64 {
	tooLow := ^(x + (0x80-'!')*everyByte)
	tooHigh := x + everyByte
	quotes := ^((x ^ '"'*everyByte) + 0x7f*everyByte)
	percents := ^((x ^ '%'*everyByte) + 0x7f*everyByte)
	return (x | tooLow | tooHigh | quotes | percents) & highBits
}

// load takes the first eight bytes of s.
func load(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// loadRest takes all of s, which has less than eight bytes, among letters.
func loadRest(s string) uint64 {
	rest := uint64('A' * everyByte)
	for i := range len(s) {
		rest = rest<<8 | uint64(s[i])
	}
	return rest
}
