package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzParse holds that no input panics, that every problem lies in the input,
// and that what has no problem prints as what reads the same.
func FuzzParse(f *testing.F) {
	for _, text := range samples {
		f.Add([]byte(text))
	}
	archives, err := filepath.Glob("testdata/problems/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range archives {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, m := range fileMark.Split(string(text), -1)[1:] {
			f.Add([]byte(m))
		}
	}
	for _, text := range []string{"", "~", "\xff", "? ", "a: &a [*a]", "<<: *a", "<<: [", "${", "a: ${file:/dev/zero}", "- &x\n- *x", "version: 1\n...\n", "\ufeff"} {
		f.Add([]byte(text))
	}
	around := surroundings{
		env:  func(name string) (string, bool) { return "1", strings.HasPrefix(name, "S") },
		read: func(string) (string, error) { return "text", nil },
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := load(around, []input{{name: "fuzz.yaml", data: text}})
		var problems Problems
		if err != nil && !errors.As(err, &problems) {
			t.Fatalf("the error is a %T", err)
		}
		for _, p := range problems {
			if p.String() == "" || p.Line < 0 || p.Line > bytes.Count(text, []byte("\n"))+len(text)+1 {
				t.Errorf("a problem is %q", p)
			}
		}
		if c == nil {
			return
		}
		exercise(t, c)
		if err == nil {
			again(t, c)
		}
	})
}

// exercise calls what must not panic, whatever was read.
func exercise(t *testing.T, c *Config) {
	t.Helper()
	_ = c.Cycles()
	for name := range c.Agents {
		_, _ = c.Agent(name)
		_ = c.CheckSelection([]string{name}, nil)
		_ = c.Policy(name).Timeline().String()
	}
	for name := range c.Transports {
		_ = c.Decode("transports."+name, &busOptions{})
	}
	if _, err := c.Explain(""); err != nil {
		t.Errorf("Explain: %v", err)
	}
}

// again prints and reads again.
func again(t *testing.T, c *Config) {
	t.Helper()
	first := printed(t, c)
	if strings.Contains(first, "***") {
		return
	}
	second, err := load(ofProcess(), []input{{name: "again.yaml", data: []byte(first)}})
	if err != nil {
		t.Fatalf("what is printed has problems:\n%s\n%v", first, err)
	}
	if got := printed(t, second); got != first {
		t.Errorf("printed:\n%s\nand printed again:\n%s", first, got)
	}
}
