package embedded

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/anywire/anywire/transport/driver"
)

// lockName is the file that the owner of a folder holds a lock on. It says who
// that is, and is empty after an end that leaves nothing to reclaim.
const lockName = "anywire.lock"

// errLocked is what lockFile says of a file that somebody else holds.
var errLocked = fmt.Errorf("locked: %w", driver.ErrHeld)

type folderLock struct {
	file    *os.File
	crashed bool // the last owner did not end cleanly, or gave back what the server forgot
	shared  bool // it listened, so that others may hold deliveries
}

// lockFolder makes the folder, checks that it can be written, and becomes its
// owner.
func lockFolder(dir, listen string) (*folderLock, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("folder %s of the embedded transport cannot be made: set dir to one that can: %w", abs(dir), err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = tryFolder(dir, 1)
	}
	if err != nil {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
		return nil, fmt.Errorf("folder %s of the embedded transport cannot be written: set dir to one that can, or mend its rights: %w",
			abs(dir), err)
	}
	l := &folderLock{file: f}
	if err := l.own(dir, listen); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

func (l *folderLock) own(dir, listen string) error {
	err := lockFile(l.file)
	pid, address := l.owner()
	if errors.Is(err, errLocked) {
		return inUse(dir, pid, address)
	}
	if err != nil {
		return fmt.Errorf("lock folder %s: %w", abs(dir), err)
	}
	l.crashed, l.shared = pid != "", address != ""
	return l.write(fmt.Sprintf("pid %d\nlisten %s\n", os.Getpid(), listen))
}

func inUse(dir, pid, address string) error {
	if pid == "" {
		pid = "that is just starting or ending"
	}
	way := "give it a listen: address and attach this one with kind: nats"
	if address != "" {
		way = "attach this one to it with kind: nats and url: nats://" + address
	}
	return fmt.Errorf("folder %s is in use by process %s, and a folder of an embedded transport has one owner: "+
		"end that process, %s, or set another dir: %w", abs(dir), pid, way, errLocked)
}

// owner reads who holds or held the lock.
func (l *folderLock) owner() (pid, listen string) {
	b, err := io.ReadAll(io.NewSectionReader(l.file, 0, 1024))
	if err != nil {
		return "", ""
	}
	for line := range strings.Lines(string(b)) {
		key, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "pid":
			if _, err := strconv.Atoi(text); err == nil {
				pid = text
			}
		case "listen":
			listen = text
		}
	}
	return pid, listen
}

func (l *folderLock) write(text string) error {
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("write %s: %w", l.file.Name(), err)
	}
	if _, err := l.file.WriteAt([]byte(text), 0); err != nil {
		return fmt.Errorf("write %s: %w", l.file.Name(), err)
	}
	return nil
}

// release unlocks the folder. Unless it is left as after a crash, the next owner
// has nothing to reclaim.
func (l *folderLock) release(asCrashed bool) error {
	if l.file == nil {
		return nil
	}
	var err error
	if !asCrashed {
		err = l.write("")
	}
	err = errors.Join(err, l.file.Close())
	l.file = nil
	return err
}

// abs is for messages.
func abs(dir string) string {
	if full, err := filepath.Abs(dir); err == nil {
		return full
	}
	return dir
}
