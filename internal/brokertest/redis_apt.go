package brokertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// unpackRedis loads Debian's redis-server, with the libraries of it that this
// machine lacks, and unpacks them into the folder root. It needs no root and
// changes nothing outside of root.
func unpackRedis(ctx context.Context, root string) error {
	for _, program := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("there is no %s to get it with", program)
		}
	}
	packages := filepath.Join(root, "packages")
	if err := os.MkdirAll(packages, 0o750); err != nil {
		return fmt.Errorf("make a folder for the packages: %w", err)
	}
	if err := downloadRedis(ctx, packages); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(packages, "*.deb"))
	if err != nil {
		return fmt.Errorf("list the packages: %w", err)
	}
	for _, file := range files {
		if _, err := run(ctx, "", "dpkg-deb", "-x", file, root); err != nil {
			return err
		}
	}
	program, env := unpackedRedis(root)
	if _, err := run(ctx, "", "env", append(slices.Clone(env), program, "--version")...); err != nil {
		return fmt.Errorf("the unpacked redis-server does not run: %w", err)
	}
	return os.RemoveAll(packages)
}

// downloadRedis first believes the machine's package lists. Where they are
// missing or too old it reads lists of its own.
func downloadRedis(ctx context.Context, dir string) error {
	options := []string{"-q", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3"}
	first := downloadWith(ctx, dir, options)
	if first == nil {
		return nil
	}
	for _, option := range []string{"Dir::State::Lists", "Dir::Cache"} {
		path := filepath.Join(dir, option)
		if err := os.MkdirAll(filepath.Join(path, "partial"), 0o750); err != nil {
			return fmt.Errorf("make a folder for the package lists: %w", err)
		}
		options = append(options, "-o", option+"="+path)
	}
	if _, err := run(ctx, dir, "apt-get", append(options, "update")...); err != nil {
		return errors.Join(first, err)
	}
	return downloadWith(ctx, dir, options)
}

func downloadWith(ctx context.Context, dir string, options []string) error {
	args := append(slices.Clone(options), "--no-install-recommends", "-s", "install", "redis-server")
	plan, err := run(ctx, dir, "apt-get", args...)
	if err != nil {
		return err
	}
	args = append(slices.Clone(options), "download", "redis-server", "redis-tools")
	_, err = run(ctx, dir, "apt-get", append(args, missingLibraries(plan)...)...)
	return err
}

// missingLibraries are those that apt-get would install. The C library is never
// one of them: every machine has it, and a second one does not fit the loader.
func missingLibraries(plan string) []string {
	var libraries []string
	for line := range strings.Lines(plan) {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[0] == "Inst" && strings.HasPrefix(fields[1], "lib") && fields[1] != "libc6" {
			libraries = append(libraries, fields[1])
		}
	}
	return libraries
}

// unpackedRedis is how the program in root is started: with its libraries
// before the machine's.
func unpackedRedis(root string) (program string, env []string) {
	var folders []string
	for _, pattern := range []string{"usr/lib/*-linux-*", "lib/*-linux-*"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			continue // the patterns are right
		}
		folders = append(folders, found...)
	}
	program = filepath.Join(root, "usr", "bin", "redis-server")
	if len(folders) == 0 {
		return program, nil
	}
	return program, []string{"LD_LIBRARY_PATH=" + strings.Join(folders, string(os.PathListSeparator))}
}
