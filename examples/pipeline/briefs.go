package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

const (
	suffix = ".brief.md"
	// maxName is the length of a file's name that every usual file system takes.
	maxName = 255
)

// render is the brief as it is kept. It holds no time and no id: equal documents
// give equal bytes.
func render(title, text, source string) string {
	return "# " + oneLine(title) + "\n\n" + strings.TrimSpace(text) + "\n\nSource: `" + oneLine(source) + "`\n"
}

// oneLine keeps a name with strange characters from breaking the Markdown.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '`' {
			return '?'
		}
		return r
	}, s)
}

// briefName is where the brief of a document is kept, below the folder of
// briefs. No two documents share one.
func briefName(document string) string {
	dir, base := path.Split(document)
	if len(base)+len(suffix) > maxName {
		sum := sha256.Sum256([]byte(base))
		cut := strings.ToValidUTF8(base[:maxName/2], "")
		base = cut + "~" + hex.EncodeToString(sum[:16])
	}
	return dir + base + suffix
}

// hasBrief reports whether the brief of a document is there.
func hasBrief(out *os.Root, document string) bool {
	info, err := out.Lstat(briefName(document))
	return err == nil && info.Mode().IsRegular()
}

// writeBrief keeps a brief: whole or not at all, and durably, since the message
// that brought it is settled next. Writing it again is harmless.
func writeBrief(out, document, text string) error {
	root, err := openOut(out)
	if err != nil {
		return err
	}
	defer root.Close()
	name := briefName(document)
	dir, _ := path.Split(name)
	if err := root.MkdirAll(path.Clean(dir), 0o755); err != nil {
		return fmt.Errorf("folder of briefs: %w", err)
	}
	temp := dir + tempName()
	if err := writeSynced(root, temp, text); err != nil {
		_ = root.Remove(temp) // what is left is swept by the next run
		return err
	}
	if err := root.Rename(temp, name); err != nil {
		_ = root.Remove(temp)
		return err
	}
	return syncFolder(root, path.Clean(dir))
}

// openOut opens the folder of briefs, and makes it if need be.
func openOut(out string) (*os.Root, error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, fmt.Errorf("folder of briefs %s: %w; give another with -out", out, reason(err))
	}
	return os.OpenRoot(out)
}

func writeSynced(root *os.Root, name, text string) error {
	file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Sync(), file.Close())
}

// syncFolder makes a rename durable. Not every system can.
func syncFolder(root *os.Root, dir string) error {
	folder, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	if err := folder.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// roundName is the file that names a round that has not ended.
const roundName = ".round"

// openRound names the round that writes briefs to out: the one that a process
// began and did not end, or a new one. Its tasks are the same work until it has
// ended; after that a document whose brief is gone is new work.
func openRound(out *os.Root) (string, error) {
	if name, err := fs.ReadFile(out.FS(), roundName); err == nil && len(name) > 0 {
		return string(name), nil
	}
	name, temp := rand.Text(), tempName()
	if err := writeSynced(out, temp, name); err != nil {
		return "", err
	}
	if err := out.Rename(temp, roundName); err != nil {
		_ = out.Remove(temp)
		return "", err
	}
	return name, nil
}

// endRound lets the next process begin a new round.
func endRound(out *os.Root) error {
	if err := out.Remove(roundName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// A temporary file is named .brief-PID-RANDOM~, so that a later run can tell
// whether its writer still lives.
const tempPrefix = ".brief-"

func tempName() string {
	return fmt.Sprintf("%s%d-%s~", tempPrefix, os.Getpid(), rand.Text()[:10])
}

// sweep removes what processes left half written that died before began.
func sweep(out *os.Root, began time.Time) error {
	return fs.WalkDir(out.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if pid, ok := writerOf(entry.Name()); ok && (!alive(pid) || pid == os.Getpid() && olderThan(entry, began)) {
			return out.Remove(name)
		}
		return nil
	})
}

// writerOf reads the process out of a temporary file's name.
func writerOf(name string) (pid int, ok bool) {
	rest, ok := strings.CutPrefix(name, tempPrefix)
	if !ok || !strings.HasSuffix(rest, "~") {
		return 0, false
	}
	digits, _, ok := strings.Cut(rest, "-")
	pid, err := strconv.Atoi(digits)
	return pid, ok && err == nil && pid > 0
}

func alive(pid int) bool {
	process, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = process.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, fs.ErrPermission)
}

// olderThan tells a file of an earlier process with this one's number, as in a
// container that was started again.
func olderThan(entry fs.DirEntry, began time.Time) bool {
	info, err := entry.Info()
	return err == nil && info.ModTime().Before(began)
}
