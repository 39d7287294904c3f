//go:build !windows && (!unix || solaris || aix)

package embedded

import (
	"errors"
	"os"
)

func lockFile(*os.File) error { return errors.ErrUnsupported }
