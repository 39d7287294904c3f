package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/anywire/anywire"
)

// maxDocument is the size from which a document is refused.
const maxDocument = 32 << 20

// documents lists the .md and .txt files below in, relative to it, with slashes
// and in lexical order. It leaves out what is hidden and the folder of briefs.
// A folder that cannot be read is an error; the rest is listed all the same.
//
// Links to folders are not followed, so nothing is met twice. A link to a file
// is a document, which readDocument refuses if it leads out of the folder.
func documents(in, out string) ([]string, error) {
	root, err := os.OpenRoot(in)
	if err != nil {
		return nil, fmt.Errorf("folder of documents %s: %w; give another with -in", in, reason(err))
	}
	defer root.Close()
	briefs, _ := os.Stat(out) // where it does not exist yet, nothing is left out
	var all []string
	var unread []error
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			unread = append(unread, fmt.Errorf("%s/%s: %w", in, name, reason(err)))
			return nil
		}
		hidden := name != "." && strings.HasPrefix(entry.Name(), ".")
		switch {
		case entry.IsDir() && (hidden || name != "." && sameFile(entry, briefs)):
			return fs.SkipDir
		case entry.IsDir() || hidden || !isText(name):
		case entry.Type()&fs.ModeSymlink != 0 && isFolder(root, name):
		default:
			all = append(all, name)
		}
		return nil
	})
	return all, errors.Join(append(unread, err)...)
}

func isText(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".md", ".txt":
		return true
	}
	return false
}

func sameFile(entry fs.DirEntry, other fs.FileInfo) bool {
	info, err := entry.Info()
	return err == nil && other != nil && os.SameFile(info, other)
}

func isFolder(root *os.Root, name string) bool {
	info, err := root.Stat(name)
	return err == nil && info.IsDir()
}

// readDocument returns the text of a document. What is wrong with the document
// itself is rejected: trying again would not mend it.
func readDocument(in, name string) (string, error) {
	root, err := os.OpenRoot(in)
	if err != nil {
		// Not the document's fault: this worker may get the folder back.
		return "", fmt.Errorf("folder of documents %s: %w; workers share it with the process that publishes", in, reason(err))
	}
	defer root.Close()
	body, err := readFile(root, name)
	if err != nil {
		return "", err
	}
	switch {
	case len(body) > maxDocument:
		return "", anywire.Reject(fmt.Errorf("the document is larger than %d MiB", maxDocument>>20))
	case !utf8.Valid(body):
		return "", anywire.Reject(fmt.Errorf("the document is not UTF-8 at byte %d: save it as UTF-8", firstInvalid(body)))
	case strings.TrimSpace(strings.TrimPrefix(string(body), "\uFEFF")) == "":
		return "", anywire.Reject(errors.New("the document is empty"))
	}
	return string(body), nil
}

// readFile reads a regular file up to one byte more than a document may have.
func readFile(root *os.Root, name string) ([]byte, error) {
	info, err := root.Stat(name) // before opening: a pipe would block
	switch {
	case err != nil:
		return nil, unreadable(err)
	case !info.Mode().IsRegular():
		return nil, anywire.Reject(fmt.Errorf("the document cannot be read: it is %s", kindOf(info.Mode())))
	}
	file, err := root.Open(name)
	if err != nil {
		return nil, unreadable(err)
	}
	defer func() { _ = file.Close() }()
	body, err := io.ReadAll(io.LimitReader(file, maxDocument+1))
	if err != nil {
		return nil, unreadable(err)
	}
	return body, nil
}

// kindOf says what is no regular file.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	default:
		return "no regular file"
	}
}

// unreadable rejects a document that cannot be read, unless the disk or a limit
// of the process is to blame, which may pass.
func unreadable(err error) error {
	var errno syscall.Errno
	passes := errors.As(err, &errno) && (errno.Temporary() || errno == syscall.EIO || errno == syscall.ENOMEM)
	err = fmt.Errorf("the document cannot be read: %w", reason(err))
	if passes {
		return err
	}
	return anywire.Reject(err)
}

// reason is an error without the operation and path that the caller names.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

func firstInvalid(body []byte) int {
	for i := 0; i < len(body); {
		r, size := utf8.DecodeRune(body[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(body)
}

// contentHash is of the document's bytes, or of nothing where it cannot be
// read: the researcher will say why.
func contentHash(root *os.Root, name string) string {
	hash := sha256.New()
	if info, err := root.Stat(name); err == nil && info.Mode().IsRegular() {
		if file, err := root.Open(name); err == nil {
			defer func() { _ = file.Close() }()
			_, _ = io.Copy(hash, io.LimitReader(file, maxDocument+1)) // see above
		}
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// titleOf is the title of a document without a heading: its name.
func titleOf(name string) string {
	base := path.Base(name)
	return strings.TrimSuffix(base, path.Ext(base))
}
