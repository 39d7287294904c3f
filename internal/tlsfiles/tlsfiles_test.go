package tlsfiles_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anywire/anywire/internal/tlsfiles"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ ca, cert, key, want string }{
		"nothing":     {},
		"no such CA":  {ca: "nowhere.pem", want: "tls.ca: open nowhere.pem"},
		"empty CA":    {ca: empty, want: "empty.pem holds no PEM certificate"},
		"broken pair": {cert: empty, key: empty, want: "tls.cert and tls.key: "},
	} {
		cfg, err := tlsfiles.Config(c.ca, c.cert, c.key, "host")
		if c.want == "" && (err != nil || cfg.ServerName != "host") || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
