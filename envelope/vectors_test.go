package envelope

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/anywire/anywire/transport/driver"
)

func TestPercentVectors(t *testing.T) {
	t.Parallel()
	vectors := readVectors[struct {
		Encode  []struct{ Value, Encoded string }
		Decode  []struct{ Encoded, Value string }
		Invalid []string
	}](t, "percent.json")
	for _, v := range vectors.Encode {
		if got := percentEncode(v.Value); got != v.Encoded {
			t.Errorf("%q is encoded as %q, want %q", v.Value, got, v.Encoded)
		}
		if got, reason := percentDecode(v.Encoded); got != v.Value || reason != "" {
			t.Errorf("%q is decoded as %q %s, want %q", v.Encoded, got, reason, v.Value)
		}
	}
	for _, v := range vectors.Decode {
		if got, reason := percentDecode(v.Encoded); got != v.Value || reason != "" {
			t.Errorf("%q is decoded as %q %s, want %q", v.Encoded, got, reason, v.Value)
		}
	}
	for _, encoded := range vectors.Invalid {
		if got, reason := percentDecode(encoded); reason == "" {
			t.Errorf("%q is decoded as %q, want a refusal", encoded, got)
		}
	}
}

func TestWireTypeVectors(t *testing.T) {
	t.Parallel()
	vectors := readVectors[struct {
		Types []struct {
			Wire, Name string
			Version    int
		}
		Ranges []struct {
			Wire, Name string
			Low, High  int
		}
		InvalidTypes  []string `json:"invalid_types"`
		InvalidRanges []string `json:"invalid_ranges"`
	}](t, "wiretype.json")
	for _, v := range vectors.Types {
		name, version, err := ParseType(v.Wire)
		if name != v.Name || version != v.Version || err != nil {
			t.Errorf("%q is %q, %d, %v", v.Wire, name, version, err)
		}
		if got := FormatType(v.Name, v.Version); got != v.Wire {
			t.Errorf("%q, %d is %q, want %q", v.Name, v.Version, got, v.Wire)
		}
	}
	for _, v := range vectors.Ranges {
		name, low, high, err := ParseTypeRange(v.Wire)
		if name != v.Name || low != v.Low || high != v.High || err != nil {
			t.Errorf("%q is %q, %d, %d, %v", v.Wire, name, low, high, err)
		}
	}
	for _, wire := range vectors.InvalidTypes {
		_, _, err := ParseType(wire)
		wantInvalid(t, err, Invalid, quote(wire))
	}
	for _, wire := range vectors.InvalidRanges {
		_, _, _, err := ParseTypeRange(wire)
		wantInvalid(t, err, Invalid, quote(wire))
	}
}

func TestShardVectors(t *testing.T) {
	t.Parallel()
	vectors := readVectors[[]struct {
		Key     string
		Murmur2 int32
		Shards  map[string]int
	}](t, "shards.json")
	for _, v := range vectors {
		if got := driver.ShardOf(v.Key, 1<<31-1); got != int(v.Murmur2&0x7fffffff)%(1<<31-1) {
			t.Errorf("hash of %q: %d does not fit %d", v.Key, got, v.Murmur2)
		}
		for n, want := range v.Shards {
			shards, err := strconv.Atoi(n)
			if err != nil {
				t.Fatal(err)
			}
			if got := driver.ShardOf(v.Key, shards); got != want {
				t.Errorf("shard of %q among %d is %d, want %d", v.Key, shards, got, want)
			}
		}
	}
}

// identityVectors is the file identity.json.
type identityVectors struct {
	Identity    []struct{ Source, ID, Identity string }
	Fingerprint []struct {
		vectorContent

		SHA256 string
	}
	Dedup []struct {
		Source, ID, Topic, Redrive string
		HashedHex                  string `json:"hashed_hex"`
		DedupID                    string `json:"dedup_id"`
	}
	Output []struct {
		vectorContent

		System, Agent, Source, ID, Slot string
		OutputID                        string `json:"output_id"`
	}
}

type vectorContent struct {
	Type, SchemaVersion string
	Data                octets
}

func (c vectorContent) envelope(t *testing.T) *Envelope {
	t.Helper()
	version, err := strconv.Atoi(c.SchemaVersion)
	if err != nil {
		t.Fatal(err)
	}
	return &Envelope{Type: c.Type, SchemaVersion: version, Data: c.Data}
}

func TestIdentityVectors(t *testing.T) {
	t.Parallel()
	vectors := readVectors[identityVectors](t, "identity.json")
	for _, v := range vectors.Identity {
		if got := (&Envelope{Source: v.Source, ID: v.ID}).Identity(); got != v.Identity {
			t.Errorf("identity of %q, %q is %q, want %q", v.Source, v.ID, got, v.Identity)
		}
	}
	for _, v := range vectors.Fingerprint {
		sum := v.envelope(t).Fingerprint()
		if got := hex.EncodeToString(sum[:]); got != v.SHA256 {
			t.Errorf("fingerprint of %+v is %s", v, got)
		}
	}
	for _, v := range vectors.Output {
		in := &Envelope{Source: v.Source, ID: v.ID}
		if got := OutputID(v.System, v.Agent, in, v.Slot, v.envelope(t)); got != v.OutputID {
			t.Errorf("output id of %+v is %s", v, got)
		}
	}
}

func TestDedupVectors(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors[identityVectors](t, "identity.json").Dedup {
		redrive, err := strconv.Atoi(v.Redrive)
		if err != nil {
			t.Fatal(err)
		}
		e := &Envelope{Source: v.Source, ID: v.ID, Redrive: redrive}
		if got := e.DedupID(v.Topic); got != v.DedupID {
			t.Errorf("deduplication id of %+v is %s", v, got)
		}
		hashed, err := hex.DecodeString(v.HashedHex)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(hashed)
		if got := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]); got != v.DedupID {
			t.Errorf("hashed_hex of %+v gives %s", v, got)
		}
	}
}

// The page quotes vectors: it must not say something else.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join("..", "docs", "wire.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(content)
	for a := range attributes {
		if !strings.Contains(page, "`"+a.String()+"`") {
			t.Errorf("attribute %s is not documented", a)
		}
	}
	for _, v := range readVectors[identityVectors](t, "identity.json").Dedup {
		if v.Source == "/a" && !strings.Contains(page, v.DedupID) {
			t.Errorf("the example of a deduplication id is not %s", v.DedupID)
		}
	}
	for name := range strings.FieldsSeq("dlid dlreason dlerror dlagent dlattempts dlfirst dllast dlhost dlstack dltopic dlposition dlheaders " +
		"deliverat deliverto attempt replycode replyerror frame frametoken frameend credit cancel") {
		if !isReserved(name) || !strings.Contains(page, "`"+name+"`") {
			t.Errorf("%s is not reserved, or not documented", name)
		}
	}
}

func TestLimitVectors(t *testing.T) {
	t.Parallel()
	vectors := readVectors[[]struct {
		Name       string
		Attributes map[string]string
		Count      int
		Bytes      int
	}](t, "limits.json")
	for _, v := range vectors {
		headers := make([]Header, 0, len(v.Attributes))
		for name, value := range v.Attributes {
			headers = append(headers, Header{Name: "ce_" + name, Value: value})
		}
		var e Envelope
		if err := NewBinding("ce_", "", false).Decode(headers, nil, &e); err != nil {
			t.Fatal(err)
		}
		if count, size := e.measure(); count != v.Count || size != v.Bytes {
			t.Errorf("%s: %d attributes with %d bytes, want %d with %d", v.Name, count, size, v.Count, v.Bytes)
		}
		for _, l := range []Limits{{Attributes: v.Count, AttributeBytes: v.Bytes}, {}} {
			if err := l.Check(&e); err != nil {
				t.Errorf("%s: %v", v.Name, err)
			}
		}
		wantInvalid(t, Limits{Attributes: v.Count - 1}.Check(&e), TooLarge, "limits.attributes ")
		wantInvalid(t, Limits{AttributeBytes: v.Bytes - 1}.Check(&e), TooLarge, "limits.attribute_bytes ")
	}
}
