package main

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
)

// project is what init writes. The names end in .tmpl so that its files are no
// Go files of this module.
//
//go:embed all:project
var project embed.FS

func initCommand() *cobra.Command {
	var p newProject
	cmd := &cobra.Command{
		Use:        "init [DIR]",
		SuggestFor: []string{"new", "create", "start"},
		Short:      "Start a small working project: agents, tests, a file per transport",
		Long: `Writes a small project into DIR (default: this folder): three agents with tests,
a main, a configuration for each transport, and a compose file with the brokers.
Nothing is overwritten.

Until a version of anywire is published, the project's go.mod points at the
checkout that this command was built from.`,
		Example: `  anywire init newsroom
  cd newsroom && go test ./... && go run . -c memory.yaml`,
		Args: oneArgument("DIR"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			p.dir = filepath.Clean(strings.Join(args, ""))
			p.out = cmd.OutOrStdout()
			if p.module != "" && !modulePattern.MatchString(p.module) {
				return &usageError{of: cmd, error: fmt.Errorf("%q is no module path: write one such as example.com/newsroom", p.module)}
			}
			return p.make(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&p.module, "module", "", "module `PATH` of the project (default: example.com/ and the folder's name)")
	cmd.Flags().StringVar(&p.checkout, "replace", "",
		"point at the checkout of anywire in `DIR` (default: the one that this command was built from)")
	cmd.Flags().BoolVar(&p.noTidy, "no-tidy", false, "leave it to you to run go mod tidy")
	if err := cmd.MarkFlagDirname("replace"); err != nil {
		panic(err) // the flag was defined three lines above
	}
	return cmd
}

// newProject is one call of init.
type newProject struct {
	dir, module, checkout string
	noTidy                bool
	out                   io.Writer
}

// written is one file of a project.
type written struct {
	name string
	text []byte
}

func (p *newProject) make(ctx context.Context) error {
	home, err := p.complete()
	if err != nil {
		return err
	}
	list, err := p.render(home)
	if err != nil {
		return &failure{err}
	}
	if err := p.refuseOverwriting(list); err != nil {
		return err
	}
	if err := p.write(list); err != nil {
		return &failure{fmt.Errorf("write the project: %w", err)}
	}
	if err := p.tidy(ctx); err != nil {
		return &failure{err}
	}
	p.sayNext()
	return nil
}

// complete fills in and checks what the flags leave open.
func (p *newProject) complete() (checkout, error) {
	dir, err := filepath.Abs(p.dir)
	if err != nil {
		return checkout{}, &failure{err}
	}
	p.module = cmp.Or(p.module, moduleName(filepath.Base(dir)))
	if p.checkout == "" {
		return builtFrom()
	}
	return openCheckout(p.checkout)
}

func (p *newProject) render(home checkout) ([]written, error) {
	templates, err := template.ParseFS(project, "project/*.tmpl")
	if err != nil {
		return nil, fmt.Errorf("read the project's templates: %w", err)
	}
	values := map[string]string{
		"Module": p.module, "Anywire": modulePath, "Checkout": quotedPath(home.dir), "Go": home.goVersion,
	}
	list := []written{
		{"go.sum", home.sums},
		// The brokers of a project are its own: their name is that of its folder.
		{"compose.yaml", bytes.Replace(home.compose, []byte("name: anywire\n"), nil, 1)},
	}
	for _, t := range templates.Templates() {
		var b bytes.Buffer
		if err := t.Execute(&b, values); err != nil {
			return nil, fmt.Errorf("render the project: %w", err)
		}
		list = append(list, written{strings.TrimSuffix(t.Name(), ".tmpl"), b.Bytes()})
	}
	slices.SortFunc(list, func(a, b written) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

// refuseOverwriting wants no file of the project to be there, and no Go file at
// all, since it would become part of the program.
func (p *newProject) refuseOverwriting(list []written) error {
	there, _ := filepath.Glob(filepath.Join(p.dir, "*.go")) // where it cannot read, the writing fails
	for i, name := range there {
		there[i] = filepath.Base(name)
	}
	for _, f := range list {
		if _, err := os.Lstat(filepath.Join(p.dir, f.name)); err == nil && !slices.Contains(there, f.name) {
			there = append(there, f.name)
		}
	}
	if len(there) == 0 {
		return nil
	}
	slices.Sort(there)
	return fmt.Errorf("%s has %s already, and nothing is overwritten: name another folder, as in anywire init DIR",
		p.place(), strings.Join(there, ", "))
}

// place names the project's folder in messages.
func (p *newProject) place() string {
	if p.dir == "." {
		return "this folder"
	}
	return p.dir
}

func (p *newProject) write(list []written) error {
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return err
	}
	for _, f := range list {
		name := filepath.Join(p.dir, f.name)
		if err := create(name, f.text); err != nil {
			return err
		}
		fmt.Fprintln(p.out, "wrote "+name)
	}
	return nil
}

// create writes a file that must not be there yet.
func create(name string, text []byte) (err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) //nolint:gosec // as its folder
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// tidy completes go.mod. The checksums of go.sum are those of the checkout, so
// that modules of the local cache need no network.
func (p *newProject) tidy(ctx context.Context) error {
	if p.noTidy {
		return nil
	}
	cmd := exec.CommandContext(ctx, "go", "mod", "tidy")
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	text, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		fmt.Fprintln(p.out, "ran go mod tidy")
		return nil
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the project is written, and there is no go command to complete its go.mod: "+
			"install Go, and run go mod tidy in %s", p.place())
	default:
		return fmt.Errorf("the project is written, but go mod tidy did not work; run it again in %s: %w\n%s",
			p.place(), err, bytes.TrimSpace(text))
	}
}

func (p *newProject) sayNext() {
	fmt.Fprintln(p.out, "\nnext:")
	if p.dir != "." {
		fmt.Fprintln(p.out, "  cd "+quotedPath(p.dir))
	}
	if p.noTidy {
		fmt.Fprintln(p.out, "  go mod tidy")
	}
	fmt.Fprintln(p.out, "  go test ./...\n  go run . -c memory.yaml       # Ctrl-C stops it")
}
