// Command pipeline writes a short brief of every document in a folder, with
// three agents:
//
//	tasks.research → researcher → tasks.write → writer → briefs → collector
//
// Where the messages travel is the configuration's business: the files beside
// this one differ in the transport only.
//
//	go run ./examples/pipeline -c examples/pipeline/embedded.yaml -in docs -out briefs
//
// Without -in a process only works, on what others publish; with -agents it
// runs some of the agents. OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL name
// a language model; without them the briefs are made offline.
package main

import (
	"errors"
	"flag"
	"log/slog"
	"os"

	"github.com/anywire/anywire/all"
)

func main() {
	j := &job{terminal: os.Stdout}
	flag.Func("in", "publish a task for each .md and .txt file in this `folder`, wait for the briefs, and drain; "+
		"without it the process only works", func(folder string) error {
		if j.in = folder; folder == "" {
			return errors.New("it names no folder")
		}
		return nil
	})
	flag.StringVar(&j.out, "out", "", "write the briefs into this `folder` (default "+defaultOut+")")
	o := all.Options()
	o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	newPipeline(o, authorFor(os.Getenv), j).Main()
}
