package brokertest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Python returns a Python interpreter and the environment in which it finds the
// packages that requirements name, one a line as pip writes them. They are
// installed into the cache on first use, and nowhere else. A machine without
// Python 3 and pip gets them from Debian's packages where the test may do that;
// else the test fails and says what to install.
func Python(tb testing.TB, requirements ...string) (interpreter string, env []string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	interpreter, err := findPython(ctx, tb.Logf)
	if err != nil {
		tb.Fatalf("brokertest: python: %v", err)
	}
	packages, err := installPackages(ctx, tb.Logf, interpreter, requirements)
	if err != nil {
		tb.Fatalf("brokertest: python: %v", err)
	}
	return interpreter, append(os.Environ(), "PYTHONPATH="+packages, "PYTHONDONTWRITEBYTECODE=1")
}

// findPython is the first python3 that has pip.
func findPython(ctx context.Context, logf logFunc) (string, error) {
	if usable(ctx) {
		return "python3", nil
	}
	logf("brokertest: installing python3-pip")
	for _, step := range [][]string{{"update"}, {"install", "-y", "--no-install-recommends", "python3", "python3-pip"}} {
		cmd := exec.CommandContext(ctx, "apt-get", step...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("no python3 with pip here, install both: apt-get %s: %w\n%s", strings.Join(step, " "), err, out)
		}
	}
	if !usable(ctx) {
		return "", errors.New("python3 -m pip does not run, though python3-pip is installed")
	}
	return "python3", nil
}

func usable(ctx context.Context) bool {
	return exec.CommandContext(ctx, "python3", "-m", "pip", "--version").Run() == nil
}

// installPackages has a folder for each set of packages and each Python.
func installPackages(ctx context.Context, logf logFunc, interpreter string, requirements []string) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	version, err := exec.CommandContext(ctx, interpreter, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", interpreter, err)
	}
	sum := sha256.Sum256([]byte(strings.Join(append(requirements, string(version)), "\n")))
	dir := filepath.Join(cache, "python-"+hex.EncodeToString(sum[:8]))
	err = installOnce(dir, func(temporary string) error {
		logf("brokertest: pip install %s", strings.Join(requirements, " "))
		args := append([]string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", temporary}, requirements...)
		if out, err := exec.CommandContext(ctx, interpreter, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("pip install %s: %w\n%s", strings.Join(requirements, " "), err, out)
		}
		return nil
	})
	return dir, err
}
