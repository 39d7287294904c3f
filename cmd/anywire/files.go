package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/all"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
)

// files is the -c flag of commands that read a configuration.
type files struct{ names []string }

func (f *files) flag(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&f.names, "config", "c", nil,
		"read `FILE` (default "+config.DefaultName+"); repeat it to lay files over each other")
	if err := cmd.MarkFlagFilename("config", "yaml", "yml"); err != nil {
		panic(err) // the flag was defined one line above
	}
}

// read reads the configuration and checks it against every kind of transport
// that this binary links. It may be there beside problems.
func (f *files) read() (*config.Config, error) {
	names := f.names
	if len(names) == 0 {
		if _, err := os.Stat(config.DefaultName); err != nil {
			return nil, fmt.Errorf("there is no %s here: %s", config.DefaultName, wayOut())
		}
		names = []string{config.DefaultName}
	}
	c, err := config.Load(names...)
	if c != nil {
		err = problemsOf(c)
	}
	return c, err
}

// wayOut says what to do where no file is named.
func wayOut() string {
	var there []string
	for _, pattern := range []string{"*.yaml", "*.yml"} {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		there = append(there, found...)
	}
	if len(there) == 0 {
		return "name a file with -c FILE, or begin with anywire init"
	}
	slices.Sort(there)
	return "name a file with -c, such as " + strings.Join(there[:min(len(there), 5)], " or ")
}

// problemsOf checks a configuration with a handler standing in for each agent's.
func problemsOf(c *config.Config) error {
	o := all.Options()
	o.Config = c
	app := anywire.New(o)
	for name := range c.Agents {
		app.HandleEnvelope(name, func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) { return nil, nil })
	}
	return app.Validate()
}

// checked is a configuration without problems; those that there are have been
// printed.
func (f *files) checked(cmd *cobra.Command) (*config.Config, error) {
	c, err := f.read()
	if err != nil {
		return nil, show(cmd.ErrOrStderr(), err)
	}
	return c, nil
}

// show prints problems and counts them.
func show(w io.Writer, err error) error {
	problems, ok := errors.AsType[config.Problems](err)
	if !ok {
		return err
	}
	fmt.Fprintln(w, problems.Error())
	fmt.Fprintln(w, count(len(problems), "problem"))
	return &shownError{err}
}

// count says how many there are of a regular noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return &failure{err}
	}
	return nil
}

// writeLine writes one line of JSON, for outputs that grow.
func writeLine(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return &failure{err}
	}
	return nil
}

// jsonFlag adds --json.
func jsonFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON")
}
