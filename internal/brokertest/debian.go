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

// choose names the packages to load; options are for apt.
type choose func(ctx context.Context, dir string, options []string) (packages []string, err error)

// unpackDebian loads Debian packages and unpacks them into the folder root, and
// has check try the result. It needs no rights and changes nothing outside of
// root.
func unpackDebian(ctx context.Context, root string, packages choose, check func(ctx context.Context) error) error {
	for _, program := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("there is no %s to get it with", program)
		}
	}
	dir := filepath.Join(root, "packages")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make a folder for the packages: %w", err)
	}
	if err := downloadDebian(ctx, dir, packages); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return fmt.Errorf("list the packages: %w", err)
	}
	for _, file := range files {
		if _, err := run(ctx, "", "dpkg-deb", "-x", file, root); err != nil {
			return err
		}
	}
	if err := check(ctx); err != nil {
		return fmt.Errorf("what was unpacked does not run: %w", err)
	}
	return os.RemoveAll(dir)
}

// downloadDebian first believes the machine's package lists. Where they are
// missing or too old it reads lists of its own.
func downloadDebian(ctx context.Context, dir string, packages choose) error {
	options := []string{"-q", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3"}
	first := downloadWith(ctx, dir, options, packages)
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
	return downloadWith(ctx, dir, options, packages)
}

func downloadWith(ctx context.Context, dir string, options []string, packages choose) error {
	names, err := packages(ctx, dir, options)
	if err != nil {
		return err
	}
	_, err = run(ctx, dir, "apt-get", append(append(slices.Clone(options), "download"), names...)...)
	return err
}

// depends are those packages that name needs and that begin with one of the
// prefixes; at least one.
func depends(ctx context.Context, dir string, options []string, name string, prefixes ...string) ([]string, error) {
	answer, err := run(ctx, dir, "apt-cache", append(slices.Clone(options), "depends", name)...)
	if err != nil {
		return nil, err
	}
	found := dependsOf(answer, prefixes...)
	if len(found) == 0 {
		return nil, fmt.Errorf("the package %s needs none of %v:\n%s", name, prefixes, answer)
	}
	return found, nil
}

// dependsOf are the packages that begin with one of the prefixes in the answer of
// apt-cache depends, of alternatives the first. What libraries need in turn is on
// every machine that has apt. So is the C library, and a second one would not fit
// the loader.
func dependsOf(answer string, prefixes ...string) []string {
	var packages []string
	alternative := false
	for line := range strings.Lines(answer) {
		fields := strings.Fields(line)
		if len(fields) != 2 || strings.TrimLeft(fields[0], "|") != "Depends:" {
			continue
		}
		name := fields[1]
		wanted := slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		if wanted && !alternative && name != "libc6" {
			packages = append(packages, name)
		}
		alternative = strings.HasPrefix(fields[0], "|")
	}
	return packages
}

// unpackedEnv is how programs in root are started: with its libraries before the
// machine's.
func unpackedEnv(root string) []string {
	var folders []string
	for _, pattern := range []string{"usr/lib/*-linux-*", "lib/*-linux-*"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			continue // the patterns are right
		}
		folders = append(folders, found...)
	}
	if len(folders) == 0 {
		return nil
	}
	return []string{"LD_LIBRARY_PATH=" + strings.Join(folders, string(os.PathListSeparator))}
}
