package docstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// unit is one package to check: a block with a package clause, a fragment, or
// the fragments that join.
type unit struct {
	name   string
	blocks []*Block
}

// units sorts the Go blocks into packages, in the order of the document.
func units(blocks []*Block) []*unit {
	var all []*unit
	joined := make(map[string]*unit)
	for _, b := range blocks {
		name := b.File + " " + b.Arg
		switch {
		case b.Lang != "go" || b.Verb == "skip":
		case b.Verb != "join":
			all = append(all, &unit{b.Where(), []*Block{b}})
		case joined[name] == nil:
			joined[name] = &unit{name, []*Block{b}}
			all = append(all, joined[name])
		default:
			joined[name].blocks = append(joined[name].blocks, b)
		}
	}
	return all
}

// CheckGo type-checks the Go blocks against the packages below dir, the root of
// the module, and reports every problem at its line in the document.
func CheckGo(ctx context.Context, dir string, blocks []*Block) error {
	fset := token.NewFileSet()
	known, err := packages(ctx, dir)
	if err != nil {
		return err
	}
	var errs []error
	parsed := make(map[*unit][]*ast.File)
	imports := make(map[string]bool)
	all := units(blocks)
	for _, u := range all {
		for _, b := range u.blocks {
			file, err := parse(fset, b, known)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			parsed[u] = append(parsed[u], file)
			for _, spec := range file.Imports {
				path, _ := strconv.Unquote(spec.Path.Value) // the parser took it
				imports[path] = true
			}
		}
	}
	from, err := exports(ctx, dir, imports)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, u := range all {
		errs = append(errs, check(fset, u.name, parsed[u], from)...)
	}
	return errors.Join(errs...)
}

// check type-checks one package. What is declared or imported and not used is
// no problem of a fragment.
func check(fset *token.FileSet, name string, files []*ast.File, from types.Importer) []error {
	var errs []error
	conf := types.Config{Importer: from, Error: func(err error) {
		if te, ok := errors.AsType[types.Error](err); !ok || !te.Soft {
			errs = append(errs, err)
		}
	}}
	// The errors went to conf.Error.
	_, _ = conf.Check(name, fset, files, nil)
	return errs
}

// parse reads a block: as a file, as declarations, or as statements.
func parse(fset *token.FileSet, b *Block, known map[string]string) (*ast.File, error) {
	line := fmt.Sprintf("//line %s:%d\n", b.File, b.Line)
	const mode = parser.SkipObjectResolution
	if file, err := parser.ParseFile(fset, b.File, line+b.Text, mode); err == nil || hasPackage(b.Text) {
		return file, err
	}
	file, err := parser.ParseFile(fset, b.File, "package doc\n"+line+b.Text, mode)
	if err != nil {
		text := "package doc\nfunc _(ctx context.Context, app *anywire.App) error {{\n" + line + b.Text + "}\nreturn nil }\n"
		var asStatements error
		if file, asStatements = parser.ParseFile(fset, b.File, text, mode); asStatements != nil {
			return nil, fmt.Errorf("%s: neither declarations (%w) nor statements (%w)", b.Where(), err, asStatements)
		}
	}
	addImports(file, known)
	return file, nil
}

func hasPackage(text string) bool {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			return strings.HasPrefix(line, "package ")
		}
	}
	return false
}

// addImports imports what a fragment names as a package and does not import.
func addImports(file *ast.File, known map[string]string) {
	used := make(map[string]bool)
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && known[id.Name] != "" {
				used[id.Name] = true
			}
		}
		return true
	})
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value) // the parser took it
		delete(used, path[strings.LastIndexByte(path, '/')+1:])
	}
	var specs []ast.Spec
	for _, name := range slices.Sorted(maps.Keys(used)) {
		spec := &ast.ImportSpec{Path: &ast.BasicLit{Kind: token.STRING, Value: strconv.Quote(known[name])}}
		specs = append(specs, spec)
		file.Imports = append(file.Imports, spec)
	}
	if len(specs) > 0 {
		file.Decls = append([]ast.Decl{&ast.GenDecl{Tok: token.IMPORT, Lparen: 1, Specs: specs}}, file.Decls...)
	}
}

// packages lists what a fragment may name without importing it, by name.
func packages(ctx context.Context, dir string) (map[string]string, error) {
	known := make(map[string]string)
	for _, path := range []string{
		"bytes", "context", "encoding/json", "errors", "flag", "fmt", "io", "log/slog", "net/http",
		"os", "slices", "strings", "sync", "testing", "time",
	} {
		known[path[strings.LastIndexByte(path, '/')+1:]] = path
	}
	out, err := golist(ctx, dir, "-e", "-f", "{{.Name}} {{.ImportPath}}", "./...")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(out) {
		name, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "main" && !strings.Contains(path, "/internal/") {
			known[name] = path
		}
	}
	return known, nil
}

// exports asks the go command for the compiled interfaces of these packages and
// all that they import.
func exports(ctx context.Context, dir string, imports map[string]bool) (types.Importer, error) {
	files := make(map[string]string)
	if len(imports) > 0 {
		args := append([]string{"-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}"}, slices.Sorted(maps.Keys(imports))...)
		out, err := golist(ctx, dir, args...)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(out) {
			path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
			files[path] = file
		}
	}
	lookup := func(path string) (io.ReadCloser, error) {
		if files[path] == "" {
			return nil, fmt.Errorf("no package %s", path)
		}
		return os.Open(files[path])
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", lookup), nil
}

func golist(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list"}, args...)...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w\n%s", err, &stderr)
	}
	return string(out), nil
}
