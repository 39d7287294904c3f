package brokertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// account is whom a server runs as, where it refuses to run as root.
type account struct{ uid, gid uint32 }

// serverAccount is that of a system user where the tests are root, and nil where
// they are not. The user gets the folder dir, and a way to it.
func serverAccount(dir string) (*account, error) {
	if os.Getuid() != 0 {
		return nil, nil //nolint:nilnil // nobody else is needed
	}
	var found *user.User
	var err error
	for _, name := range []string{"postgres", "nobody"} {
		if found, err = user.Lookup(name); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the server does not run as root, and there is no other user: %w", err)
	}
	uid, err := strconv.ParseUint(found.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", found.Username, err)
	}
	gid, err := strconv.ParseUint(found.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", found.Username, err)
	}
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		return nil, fmt.Errorf("give the data folder to user %s: %w", found.Username, err)
	}
	return &account{uid: uint32(uid), gid: uint32(gid)}, openWay(dir)
}

// openWay lets everybody pass through the temporary folders above dir, which a
// test's are closed.
func openWay(dir string) error {
	top := filepath.Clean(os.TempDir()) + string(filepath.Separator)
	for parent := filepath.Dir(dir); strings.HasPrefix(parent, top); parent = filepath.Dir(parent) {
		info, err := os.Stat(parent)
		if err != nil {
			return fmt.Errorf("open the way to the data: %w", err)
		}
		if info.Mode()&0o011 == 0o011 {
			continue
		}
		if err := os.Chmod(parent, info.Mode().Perm()|0o011); err != nil {
			return fmt.Errorf("open the way to the data: %w", err)
		}
	}
	return nil
}

// run executes c to its end; its output is part of the error.
func (c command) run(ctx context.Context) error {
	runtime.LockOSThread() // see startProcess
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	cmd.Dir, cmd.SysProcAttr = c.dir, c.as.become(dieWithParent())
	if len(c.env) > 0 {
		cmd.Env = append(os.Environ(), c.env...)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w\n%s", c.path, c.args, err, out)
	}
	return nil
}
