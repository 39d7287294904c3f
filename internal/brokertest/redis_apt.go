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

// unpackRedis loads Debian's redis-server and its libraries and unpacks them
// into the folder root. It needs no rights and changes nothing outside of root.
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
	args := append(slices.Clone(options), "depends", "redis-tools")
	depends, err := run(ctx, dir, "apt-cache", args...)
	if err != nil {
		return err
	}
	args = append(slices.Clone(options), "download", "redis-server", "redis-tools")
	_, err = run(ctx, dir, "apt-get", append(args, librariesOf(depends)...)...)
	return err
}

// librariesOf are the packages of libraries in the answer of apt-cache depends,
// of alternatives the first. What these need in turn is on every machine that
// has apt. So is the C library, and a second one would not fit the loader.
func librariesOf(depends string) []string {
	var libraries []string
	alternative := false
	for line := range strings.Lines(depends) {
		fields := strings.Fields(line)
		if len(fields) != 2 || strings.TrimLeft(fields[0], "|") != "Depends:" {
			continue
		}
		name := fields[1]
		library := strings.HasPrefix(name, "lib") || strings.HasPrefix(name, "lua-")
		if library && !alternative && name != "libc6" {
			libraries = append(libraries, name)
		}
		alternative = strings.HasPrefix(fields[0], "|")
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
