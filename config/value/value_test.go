package value_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.yaml.in/yaml/v4"

	"github.com/anywire/anywire/config/value"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	const plain = "hunter2"
	secret := value.NewSecret(plain)
	type nested struct {
		Public  value.Secret `json:"public" yaml:"public"`
		private value.Secret
	}
	n := nested{Public: secret, private: secret}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", secret, "nested", n)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", secret, "nested", n)
	asJSON, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Dump(n)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	all.WriteString(log.String() + string(asJSON) + string(asYAML))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		for _, printed := range []any{secret, n, &n, []any{secret}} {
			fmt.Fprintf(&all, verb+"\n", printed)
		}
	}
	for _, leak := range []string{plain, fmt.Sprintf("%x", plain), fmt.Sprintf("%X", plain), fmt.Sprintf("%d", []byte(plain))} {
		if strings.Contains(all.String(), leak) {
			t.Errorf("%q leaked into:\n%s", leak, &all)
		}
	}
	if !strings.Contains(string(asJSON), `"public":"***"`) || strings.TrimSpace(string(asYAML)) != `public: '***'` {
		t.Errorf("encoded as %s and %s, want ***", asJSON, asYAML)
	}
	if n.private.Reveal() != plain {
		t.Errorf("Reveal() = %q, want %q", n.private.Reveal(), plain)
	}
}

func TestSecretThatIsNotGiven(t *testing.T) {
	t.Parallel()
	var s value.Secret
	if err := s.UnmarshalText(nil); err != nil || !s.IsZero() || s.Reveal() != "" || s.String() != "" {
		t.Errorf("the zero secret is %q, %v, %v", s, s.IsZero(), err)
	}
	if err := s.UnmarshalText([]byte("x")); err != nil || s.IsZero() || s.String() != "***" {
		t.Errorf("a secret x is %q, %v, %v", s, s.IsZero(), err)
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		size value.Size
		back string
	}{
		"0":                   {0, "0"},
		"1":                   {1, "1"},
		"1024":                {value.KiB, "1KiB"},
		"1000":                {value.KB, "1kB"},
		"1536":                {1536, "1536"},
		"900KiB":              {900 * value.KiB, "900KiB"},
		"1MiB":                {value.MiB, "1MiB"},
		"1 mib":               {value.MiB, "1MiB"},
		"1GB":                 {value.GB, "1GB"},
		"1.5GB":               {1500 * value.MB, "1500MB"},
		"0.5KiB":              {512, "512"},
		"2TiB":                {2 * value.TiB, "2TiB"},
		"10B":                 {10, "10"},
		"9223372036854775807": {math.MaxInt64, "9223372036854775807"},
	} {
		got, err := value.ParseSize(text)
		if err != nil || got != want.size || got.String() != want.back {
			t.Errorf("ParseSize(%q) = %d (%s), %v, want %d (%s)", text, int64(got), got, err, int64(want.size), want.back)
		}
	}
}

func TestSizeRefusals(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                    "empty",
		"-1":                  "negative",
		"1XiB":                `unknown unit "XiB"`,
		"10M":                 `unknown unit "M"`,
		"MiB":                 "is not a size",
		"1..2KiB":             "is not a size",
		"1_000":               "is not a size",
		"0.0001KiB":           "no whole number",
		"9223372036854775808": "too large",
		"9000000TiB":          "too large",
		"9000000000.5TiB":     "too large",
		"0x10":                "is not a size",
	} {
		if got, err := value.ParseSize(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSize(%q) = %v, %v, want an error with %q", text, got, err, want)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		duration time.Duration
		back     string
	}{
		"0":        {0, "0s"},
		"0s":       {0, "0s"},
		"500ms":    {500 * time.Millisecond, "500ms"},
		"30s":      {30 * time.Second, "30s"},
		"2m":       {2 * time.Minute, "2m"},
		"90m":      {90 * time.Minute, "1h30m"},
		"1h30m":    {90 * time.Minute, "1h30m"},
		"10m":      {10 * time.Minute, "10m"},
		"10h":      {10 * time.Hour, "10h"},
		"1h0m5s":   {time.Hour + 5*time.Second, "1h0m5s"},
		"24h":      {24 * time.Hour, "1d"},
		"7d":       {7 * value.Day, "7d"},
		"1.5d":     {36 * time.Hour, "1d12h"},
		"1d12h30m": {36*time.Hour + 30*time.Minute, "1d12h30m"},
		"100us":    {100 * time.Microsecond, "100µs"},
	} {
		got, err := value.ParseDuration(text)
		if err != nil || got.Std() != want.duration || got.String() != want.back {
			t.Errorf("ParseDuration(%q) = %v (%s), %v, want %v (%s)", text, got.Std(), got, err, want.duration, want.back)
		}
	}
	if got := value.Duration(math.MinInt64).String(); !strings.HasPrefix(got, "-") {
		t.Errorf("the least duration prints as %q", got)
	}
}

func TestDurationRefusals(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":            "empty",
		"30":          "has no unit: write 30s",
		"1.5":         "has no unit: write 1.5s",
		"-5s":         "negative",
		"1d-5s":       "is not a duration",
		"+1d":         "is not a duration",
		"1w":          "is not a duration",
		"d":           "is not a duration",
		"1d2d":        "is not a duration",
		"soon":        "is not a duration",
		"106752d":     "at most 292 years",
		"106751d24h":  "at most 292 years",
		"1e30d":       "is not a duration",
		"9999999999h": "is not a duration",
	} {
		if got, err := value.ParseDuration(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseDuration(%q) = %v, %v, want an error with %q", text, got, err, want)
		}
	}
}

func TestRange(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		r    value.Range
		back string
	}{
		"500ms..1m":  {value.Range{Min: value.Duration(500 * time.Millisecond), Max: value.Duration(time.Minute)}, "500ms..1m"},
		"1s .. 1d":   {value.Range{Min: value.Duration(time.Second), Max: value.Duration(value.Day)}, "1s..1d"},
		"5s":         {value.Range{Min: value.Duration(5 * time.Second), Max: value.Duration(5 * time.Second)}, "5s"},
		"1.5s..2.5s": {value.Range{Min: value.Duration(1500 * time.Millisecond), Max: value.Duration(2500 * time.Millisecond)}, "1.5s..2.5s"},
	} {
		got, err := value.ParseRange(text)
		if err != nil || got != want.r || got.String() != want.back {
			t.Errorf("ParseRange(%q) = %v, %v, want %v (%s)", text, got, err, want.r, want.back)
		}
	}
	for text, want := range map[string]string{
		"1m..500ms":  "ends before it begins: write 500ms..1m",
		"..1m":       "the beginning of range",
		"1s..":       "the end of range",
		"1s..2s..3s": "the end of range",
		"5":          "has no unit",
		"":           "is not a range",
	} {
		if got, err := value.ParseRange(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseRange(%q) = %v, %v, want an error with %q", text, got, err, want)
		}
	}
}

func TestTextRoundTrip(t *testing.T) {
	t.Parallel()
	type all struct {
		Size     value.Size     `json:"size"`
		Duration value.Duration `json:"duration"`
		Range    value.Range    `json:"range"`
	}
	const text = `{"size":"900KiB","duration":"7d","range":"500ms..1m"}`
	var a all
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	back, err := json.Marshal(a)
	if err != nil || string(back) != text {
		t.Errorf("%s came back as %s, %v", text, back, err)
	}
	var bad all
	if err := json.Unmarshal([]byte(`{"size":"1XB"}`), &bad); err == nil {
		t.Error("an unknown unit was accepted through JSON")
	}
}

func FuzzText(f *testing.F) {
	for _, seed := range []string{"1MiB", "1.5GB", "7d", "1d12h", "500ms..1m", "..", "-1", "9e9d", "1µs", "0.1KiB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := value.ParseSize(text); err == nil {
			if back, err := value.ParseSize(s.String()); err != nil || back != s {
				t.Errorf("size %q is %d, came back as %d, %v", text, int64(s), int64(back), err)
			}
		}
		if d, err := value.ParseDuration(text); err == nil {
			if back, err := value.ParseDuration(d.String()); err != nil || back != d {
				t.Errorf("duration %q is %d, came back as %d, %v", text, int64(d), int64(back), err)
			}
		}
		if r, err := value.ParseRange(text); err == nil {
			if back, err := value.ParseRange(r.String()); err != nil || back != r {
				t.Errorf("range %q is %v, came back as %v, %v", text, r, back, err)
			}
		}
	})
}
