package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

const modulePath = "github.com/anywire/anywire"

// checkout is a folder with the source of anywire, and what a project takes from
// it.
type checkout struct {
	dir       string
	goVersion string // of its go directive: a project needs no older one
	sums      []byte // go.sum
	compose   []byte // compose.yaml
}

// builtFrom is the checkout of this source file, as the compiler knew it.
func builtFrom() (checkout, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) { // -trimpath leaves no folder in it
		return checkout{}, errors.New("the checkout that this command was built from is not known: name one with --replace DIR")
	}
	return openCheckout(filepath.Dir(filepath.Dir(filepath.Dir(file))))
}

func openCheckout(dir string) (checkout, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return checkout{}, &failure{err}
	}
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return checkout{}, &failure{fmt.Errorf("read the checkout of anywire: %w", err)}
	}
	if directive(text, "module") != modulePath {
		return checkout{}, fmt.Errorf("there is no checkout of %s in %s: name one with --replace DIR", modulePath, dir)
	}
	sums, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		return checkout{}, &failure{fmt.Errorf("read the checkout of anywire: %w", err)}
	}
	compose, err := os.ReadFile(filepath.Join(dir, "compose.yaml"))
	if err != nil {
		return checkout{}, &failure{fmt.Errorf("read the checkout of anywire: %w", err)}
	}
	return checkout{dir: dir, goVersion: directive(text, "go"), sums: sums, compose: compose}, nil
}

// directive is what a go.mod says after a word at the beginning of a line.
func directive(mod []byte, word string) string {
	for line := range bytes.Lines(mod) {
		if fields := strings.Fields(string(line)); len(fields) > 1 && fields[0] == word {
			return strings.Trim(fields[1], `"`)
		}
	}
	return ""
}

// modulePattern is what go takes as the path of a module, as far as that is said
// in one line.
var modulePattern = regexp.MustCompile(`^[A-Za-z0-9_~-][A-Za-z0-9._~-]*(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$`)

var notInModule = regexp.MustCompile(`[^a-z0-9._-]+`)

// moduleName makes a module path of a folder's name. Without a domain it could be
// that of a standard package, such as log.
func moduleName(folder string) string {
	name := strings.Trim(notInModule.ReplaceAllString(strings.ToLower(folder), "-"), "-._")
	return "example.com/" + cmp.Or(name, "newsroom")
}

var plainPath = regexp.MustCompile(`^[A-Za-z0-9_/.:~@%+=-]+$`)

// quotedPath is a folder as go.mod takes it.
func quotedPath(dir string) string {
	if dir = filepath.ToSlash(dir); plainPath.MatchString(dir) {
		return dir
	}
	return strconv.Quote(dir)
}
