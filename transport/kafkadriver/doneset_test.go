package kafkadriver

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestDoneSetComesBack(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		done := make([]byte, random.IntN(mostSpan/8+1))
		for i := range done {
			done[i] = byte(random.Uint32())
		}
		metadata := encodeDone(done)
		if len(metadata) > mostMetadata {
			t.Fatalf("%d bytes of metadata for a span of %d offsets, the broker takes %d", len(metadata), 8*len(done), mostMetadata)
		}
		if got := decodeDone(metadata); !bytes.Equal(got, bytes.TrimRight(done, "\x00")) {
			t.Fatalf("decoded %x, want %x", got, done)
		}
	}
}

func TestDoneSetOfNothing(t *testing.T) {
	t.Parallel()
	for _, done := range [][]byte{nil, {}, {0}, make([]byte, 100)} {
		if got := encodeDone(done); got != "" {
			t.Errorf("encodeDone(%x) = %q, want nothing", done, got)
		}
	}
}

func TestDoneSetOfTheWholeSpanFits(t *testing.T) {
	t.Parallel()
	if got := len(encodeDone(bytes.Repeat([]byte{255}, mostSpan/8))); got > mostMetadata {
		t.Errorf("%d bytes, the broker takes %d", got, mostMetadata)
	}
}

// Whatever another client writes there is not taken for a done set.
func TestForeignMetadata(t *testing.T) {
	t.Parallel()
	for _, metadata := range []string{
		"", "consumer-1-7cd0d6a4", "aw", "aw1", "aw2.AAAA", "{\"a\":1}", donePrefix + "not base64!", donePrefix + "A",
		donePrefix + strings.Repeat("/", mostMetadata),
	} {
		if got := decodeDone(metadata); got != nil {
			t.Errorf("decodeDone(%.40q) = %x, want nothing", metadata, got)
		}
	}
}

func TestDoneSetSaysWhichOffsets(t *testing.T) {
	t.Parallel()
	done := []byte{0b101, 0b1000_0000}
	for n := int64(-3); n < 40; n++ {
		if got, want := isDone(done, n), n == 1 || n == 3 || n == 16; got != want {
			t.Errorf("isDone(%d) = %v", n, got)
		}
	}
	if n := countDone(done); n != 3 {
		t.Errorf("counted %d, want 3", n)
	}
}

func FuzzDoneSet(f *testing.F) {
	f.Add("")
	f.Add(donePrefix)
	f.Add(donePrefix + base64.RawStdEncoding.EncodeToString([]byte{1, 0, 255}))
	f.Add("someone else's")
	f.Fuzz(func(t *testing.T, metadata string) {
		done := decodeDone(metadata)
		if int64(8*len(done)) > 8*mostMetadata {
			t.Fatalf("a span of %d offsets out of %d bytes", 8*len(done), len(metadata))
		}
		o := newOffsets(1000, done, 64)
		again := decodeDone(encodeDone(o.done()))
		base := o.base - 1000 // those right above the commit are no longer above it
		for n := int64(1); n <= int64(8*len(done)); n++ {
			if want := isDone(done, n); want != (n < base || isDone(again, n-base)) {
				t.Fatalf("offset %d above %q is done: %v, after a commit at %d %q: not so", n, metadata, want, base, encodeDone(o.done()))
			}
		}
	})
}
