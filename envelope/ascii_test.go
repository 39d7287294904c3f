package envelope

import (
	"strings"
	"testing"
)

func TestEveryByteAtEveryPlace(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		b := byte(c)
		printable := b >= ' ' && b <= '~'
		for place := range 17 {
			s := strings.Repeat("a", place) + string([]byte{b}) + strings.Repeat("z", 16-place)
			if isPrintable(s) != printable {
				t.Errorf("byte %#x at %d: printable %v", b, place, !printable)
			}
			if isHeaderSafe(s) == mustEscape(b) {
				t.Errorf("byte %#x at %d: header-safe %v", b, place, !mustEscape(b))
			}
		}
	}
}
