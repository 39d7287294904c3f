package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

func versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "version",
		Short:             "Print the version of this binary",
		Example:           "  anywire version\n  anywire version --json",
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), versionOf())
			}
			fmt.Fprintln(cmd.OutOrStdout(), versionOf())
			return nil
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

type version struct {
	Version  string `json:"version"`
	Revision string `json:"revision"` // of the source; empty: not known
	Modified bool   `json:"modified"` // the source was changed since
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (v version) String() string {
	const short = 12 // letters, as in Go's own versions
	source := ""
	if revision := v.Revision[:min(len(v.Revision), short)]; revision != "" && !strings.Contains(v.Version, revision) {
		source = "revision " + revision + ", "
	}
	return fmt.Sprintf("anywire %s (%s%s, %s)", v.Version, source, v.Go, v.Platform)
}

func versionOf() version {
	v := version{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
