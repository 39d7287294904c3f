package main

import (
	"fmt"
	"reflect"

	"github.com/spf13/cobra"

	"github.com/anywire/anywire/all"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/internal/graph"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/memory"
)

func schemaCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "schema", Short: "Print the JSON Schema of a file format"}
	cmd.AddCommand(&cobra.Command{
		Use:   "config",
		Short: "Print the JSON Schema of the configuration, for editors",
		Long: `Prints the JSON Schema (draft 2020-12) of the configuration file, so that an
editor completes and checks it. With the YAML language server, save it and put
this line first in the file:

  # yaml-language-server: $schema=anywire.schema.json`,
		Example:           "  anywire schema config > anywire.schema.json",
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := config.Schema(kinds(), storeKinds())
			if err == nil {
				_, err = cmd.OutOrStdout().Write(text)
			}
			if err != nil {
				return &failure{err}
			}
			return nil
		},
	})
	return cmd
}

// kinds are the options of every kind of transport that this binary links.
func kinds() map[string]reflect.Type {
	types := map[string]reflect.Type{}
	add := func(k transport.Kind) { types[k.KindName()] = reflect.TypeOf(k.NewOptions()).Elem() }
	add(memory.Kind())
	for _, k := range all.Options().Kinds {
		if k, ok := k.(transport.Kind); ok {
			add(k)
		}
	}
	return types
}

// storeKinds are the same of stores.
func storeKinds() map[string]reflect.Type {
	types := map[string]reflect.Type{}
	for _, k := range all.Options().Kinds {
		if k, ok := k.(idempotency.Kind); ok {
			types[k.KindName()] = reflect.TypeOf(k.NewOptions()).Elem()
		}
	}
	return types
}

func graphCommand() *cobra.Command {
	var f files
	cmd := &cobra.Command{
		Use:        "graph",
		SuggestFor: []string{"draw", "diagram"},
		Short:      "Draw who talks to whom, as a Mermaid flowchart",
		Long: `Prints a Mermaid flowchart: boxes are agents, rounded boxes are topics. The
Markdown viewers of most forges draw it where it stands in a block of mermaid.

Your own binary does the same with "graph", and adds the messages' types.`,
		Example:           "  anywire graph\n  anywire graph -c anywire.yaml > agents.mmd",
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.checked(cmd)
			if err != nil {
				return err
			}
			fmt.Fprint(cmd.OutOrStdout(), graph.Mermaid(agentsOf(c)))
			return nil
		},
	}
	f.flag(cmd)
	return cmd
}

func agentsOf(c *config.Config) []graph.Agent {
	var agents []graph.Agent
	for name := range c.Agents {
		a, _ := c.Agent(name)
		if a.Produces == config.None {
			a.Produces = ""
		}
		agents = append(agents, graph.Agent{Name: name, Consumes: a.Consumes, Produces: a.Produces})
	}
	return agents
}
