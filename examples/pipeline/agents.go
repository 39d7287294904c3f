package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/transport"
)

// The agents, as the configuration files name them. What fails in one lies in
// its dead letters.
const (
	researcher = "researcher"
	writer     = "writer"
	collector  = "collector"
)

// The topic of tasks.
const research = "tasks.research"

// desk is what the agents work with.
type desk struct {
	author author
}

// newPipeline makes the app: three agents and, beside them, the job that feeds
// them and waits for the briefs. The flags may still be unset: nothing reads j
// before the app runs.
func newPipeline(o *anywire.Options, a author, j *job) *anywire.App {
	observe := o.Observe
	o.Observe = func(e transport.Event) {
		if _, ok := e.(transport.Redelivered); ok {
			j.redelivered.Add(1)
		}
		if observe != nil {
			observe(e)
		}
	}
	app := anywire.New(o)
	d := &desk{author: a}
	anywire.Handle(app, researcher, d.research)
	anywire.Handle(app, writer, d.write)
	anywire.Consume(app, collector, func(ctx context.Context, b Brief) error {
		if j.in == "" && j.out != "" {
			b.Task.Out = j.out
		}
		return d.collect(ctx, b)
	})
	app.Beside(func(ctx context.Context) error { return j.run(ctx, app) })
	return app
}

// research reads the document of a task and finds its leading facts.
func (d *desk) research(ctx context.Context, t Task) (Facts, error) {
	text, err := readDocument(t.In, t.Path)
	if err != nil {
		return Facts{}, err
	}
	title, facts, err := d.author.facts(ctx, text)
	if err != nil {
		return Facts{}, err
	}
	if title == "" {
		title = titleOf(t.Path)
	}
	if len(facts) == 0 {
		return Facts{}, anywire.Reject(errors.New("the document has no text that could be summarised"))
	}
	return Facts{Task: t, Title: title, Facts: facts}, nil
}

// write turns facts into a brief.
func (d *desk) write(ctx context.Context, f Facts) (Brief, error) {
	text, err := d.author.brief(ctx, f.Title, f.Facts)
	if err != nil {
		return Brief{}, err
	}
	return Brief{Task: f.Task, Markdown: render(f.Title, text, f.Task.Path)}, nil
}

// collect keeps a brief as a file.
func (d *desk) collect(_ context.Context, b Brief) error {
	if err := writeBrief(b.Task.Out, b.Task.Path, b.Markdown); err != nil {
		return fmt.Errorf("keep the brief of %s: %w", b.Task.Path, err)
	}
	return nil
}
