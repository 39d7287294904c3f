package value

import (
	"encoding"
	"fmt"
	"log/slog"
)

// mask is what stands in the place of every secret.
const mask = "***"

// Secret is a text that must not be seen: a password, a token, a key. It
// prints as *** wherever it is printed, logged or encoded; only [Secret.Reveal]
// gives the text. The text is kept behind a pointer so that printing a struct
// with a verb such as %v or %x, which ignores methods of unexported fields,
// shows no more than an address; compare secrets by what they reveal.
//
// The zero value is "not given" and prints as an empty text.
type Secret struct{ text *string }

var (
	_ fmt.Formatter            = Secret{}
	_ slog.LogValuer           = Secret{}
	_ encoding.TextMarshaler   = Secret{}
	_ encoding.TextUnmarshaler = (*Secret)(nil)
)

// NewSecret hides text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: &text}
}

// Reveal gives the text itself. Call it where the text is handed to what needs
// it, and keep the result nowhere.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether no secret is given.
func (s Secret) IsZero() bool { return s.text == nil }

// String answers ***, or "" for no secret.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return mask
}

// GoString answers what String does, quoted.
func (s Secret) GoString() string { return fmt.Sprintf("value.Secret(%q)", s.String()) }

// Format writes *** for every verb, so that %x and %d hide the text too.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	if verb == 'v' && f.Flag('#') {
		text = s.GoString()
	}
	_, _ = f.Write([]byte(text))
}

// LogValue answers ***.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText answers ***: an encoded configuration holds no secrets.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON answers "***".
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

// MarshalYAML answers ***.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// UnmarshalText takes any text as the secret.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
