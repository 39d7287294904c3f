// Command depscheck holds what each package of this module links against
// deps.txt: for each package the modules outside of the standard library, and
// for the slim packages that no other than the allowed ones are among them.
//
//	go run ./internal/depscheck            compare
//	go run ./internal/depscheck -update    write deps.txt anew
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

const module = "github.com/anywire/anywire"

// slim returns the packages that a program with the memory transport only
// links, and what they may link beyond the standard library. -update cannot
// widen it.
func slim() map[string][]string {
	return map[string][]string{
		"envelope":         nil,
		"transport/driver": nil,
		"transport":        nil,
		"transport/memory": nil,
		"idempotency":      nil,
		"router":           {"golang.org/x/time"},
		".":                {"go.yaml.in/yaml/v4", "golang.org/x/time"},
	}
}

func main() {
	update := flag.Bool("update", false, "write the file anew")
	file := flag.String("file", "deps.txt", "the checked-in list")
	flag.Parse()
	if err := run(context.Background(), *file, *update); err != nil {
		fmt.Fprintln(os.Stderr, "depscheck:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, file string, update bool) error {
	got, err := linked(ctx)
	if err != nil {
		return err
	}
	if err := checkSlim(got, slim()); err != nil {
		return err
	}
	if update {
		return os.WriteFile(file, format(got), 0o644) //nolint:gosec // a source file, for everyone to read
	}
	want, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if diff := compare(parse(want), got); len(diff) > 0 {
		return fmt.Errorf("the packages link other modules than %s says:\n  %s\n"+
			"if that is meant, run: make deps UPDATE=1", file, strings.Join(diff, "\n  "))
	}
	fmt.Printf("deps: %d packages link what %s says\n", len(got), file)
	return nil
}

// linked asks the go command: package (relative to the module) to the modules
// it links, both sorted by the go command.
func linked(ctx context.Context) (map[string][]string, error) {
	const line = `{{if .GoFiles}}{{.ImportPath}}{{"\t"}}{{join .Deps " "}}{{end}}`
	packages, err := golist(ctx, "-f", line, "./...")
	if err != nil {
		return nil, err
	}
	const owner = `{{with .Module}}{{$.ImportPath}}{{"\t"}}{{.Path}}{{end}}`
	modules, err := golist(ctx, "-deps", "-f", owner, "./...")
	if err != nil {
		return nil, err
	}
	return collect(packages, modules), nil
}

func golist(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	return string(out), nil
}
