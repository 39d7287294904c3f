package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

const (
	defaultOut = "briefs"
	// publishers is how many tasks are published at a time: each waits until the
	// broker has it.
	publishers = 32
	// glance is how often the folder of briefs is looked at, at most.
	glance = 100 * time.Millisecond
	// again is the wait before dead letters are read anew after a failure.
	again = 500 * time.Millisecond
	// earlier is how far before the start dead letters are read, in case the
	// broker's clock is behind.
	earlier = time.Minute
)

// job publishes a task for each document that has no brief, and waits until each
// has a brief or a dead letter. Without a folder of documents it does nothing,
// and the process only works.
type job struct {
	in, out  string // the flags
	terminal io.Writer
	// redelivered counts the messages that this process got more than once.
	redelivered atomic.Int64
}

// app is what a job needs of *anywire.App.
type app interface {
	Publish(ctx context.Context, topic string, v anywire.Typed, o ...anywire.SendOption) error
	TransportOf(topic string) (*transport.Transport, error)
}

// run is the job, beside the agents. When it returns the app drains.
func (j *job) run(ctx context.Context, a app) error {
	if j.in == "" {
		<-ctx.Done()
		return nil
	}
	r := newRound(a)
	unread, err := r.prepare(j.in, j.out)
	if err != nil {
		return err
	}
	defer r.shelf.Close()
	p := newProgress(j.terminal, len(r.documents))
	if err = r.finish(ctx, p); err == nil {
		err = endRound(r.shelf)
	}
	p.close(r.summary(j.redelivered.Load()), r.report(ctx))
	if ctx.Err() != nil {
		return nil // the drain is wanted, and what is left was reported
	}
	return errors.Join(err, unread)
}

// round is one run of the job.
type round struct {
	app       app
	began     time.Time
	in, out   string // absolute
	shelf     *os.Root
	name      string // of this round, while it has not ended
	documents []string
	pending   []string          // documents without a brief
	tasks     map[string]Task   // by the id that their messages correlate by
	dead      map[string]string // by document: the reason of its dead letter

	mu      sync.Mutex // over letters, which followers fill
	letters map[string]string
}

func newRound(a app) *round {
	return &round{
		app: a, began: time.Now(),
		tasks: make(map[string]Task), dead: make(map[string]string), letters: make(map[string]string),
	}
}

// prepare looks at both folders. What keeps it from seeing some documents comes
// as unread.
func (r *round) prepare(in, out string) (unread, err error) {
	if out == "" {
		out = defaultOut
	}
	if r.in, err = filepath.Abs(in); err != nil {
		return nil, err
	}
	if r.out, err = filepath.Abs(out); err != nil {
		return nil, err
	}
	r.documents, unread = documents(r.in, r.out)
	switch {
	case len(r.documents) == 0 && unread != nil:
		return nil, unread
	case len(r.documents) == 0:
		return nil, fmt.Errorf("folder of documents %s holds no .md or .txt file; give another with -in", in)
	case r.in == r.out:
		return nil, fmt.Errorf("-in and -out are both %s: briefs need a folder of their own", in)
	}
	if r.shelf, err = openOut(r.out); err != nil {
		return nil, err
	}
	if err := sweep(r.shelf, r.began); err != nil {
		return nil, errors.Join(fmt.Errorf("folder of briefs %s: %w", out, err), r.shelf.Close())
	}
	if r.name, err = openRound(r.shelf); err != nil {
		return nil, errors.Join(fmt.Errorf("folder of briefs %s: %w", out, err), r.shelf.Close())
	}
	r.pending = slices.Clone(r.documents)
	r.look()
	return unread, nil
}

// finish publishes what is pending and waits for it.
func (r *round) finish(ctx context.Context, p *progress) error {
	p.show(r.counts())
	if len(r.pending) == 0 {
		return nil
	}
	for _, document := range r.pending {
		r.tasks[envelope.NewID()] = Task{In: r.in, Out: r.out, Path: document}
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer stop(nil)
	for _, agent := range []string{researcher, writer, collector} {
		beside.Go(func() { stop(r.follow(ctx, agent)) })
	}
	beside.Go(func() {
		if err := r.publish(ctx); err != nil {
			stop(err)
		}
	})
	return r.wait(ctx, p)
}

// publish sends the tasks, in any order. The id makes what comes of a task
// recognisable; the idempotency key says that the same document with the same
// content is the same work, however often the round is begun.
func (r *round) publish(ctx context.Context) error {
	documents, err := os.OpenRoot(r.in)
	if err != nil {
		return fmt.Errorf("folder of documents %s: %w", r.in, reason(err))
	}
	defer documents.Close()
	ids := make(chan string)
	var all sync.WaitGroup
	errs := make([]error, publishers)
	for i := range errs {
		all.Go(func() {
			for id := range ids {
				if errs[i] == nil {
					errs[i] = r.send(ctx, documents, id)
				}
			}
		})
	}
	for _, id := range slices.Sorted(maps.Keys(r.tasks)) {
		ids <- id
	}
	close(ids)
	all.Wait()
	return firstOf(errs)
}

// firstOf is the first error and how many more there are: what stops one
// publisher mostly stops all.
func firstOf(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	default:
		return fmt.Errorf("%w (and %d more)", errs[0], len(errs)-1)
	}
}

func (r *round) send(ctx context.Context, documents *os.Root, id string) error {
	task := r.tasks[id]
	key := idempotencyKey(r.name, task, contentHash(documents, task.Path))
	err := r.app.Publish(ctx, research, task, envelope.WithID(id), anywire.WithIdempotencyKey(key))
	if err != nil {
		return fmt.Errorf("publish the task of %s: %w", task.Path, err)
	}
	return nil
}

// follow reads an agent's dead letters until ctx ends, also those that other
// processes write. What keeps it from reading is tried again.
func (r *round) follow(ctx context.Context, agent string) error {
	topic := agent + ".dead"
	t, err := r.app.TransportOf(topic)
	if err != nil {
		return err
	}
	for {
		if err := r.read(ctx, t, topic, agent); errors.Is(err, anywire.Unsupported) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(again):
		}
	}
}

// read looks at a topic without a group where the transport can do that, and else
// as a group of its own that goes with it.
func (r *round) read(ctx context.Context, t *transport.Transport, topic, agent string) error {
	if !t.Capabilities().Browse {
		return t.Subscribe(ctx, topic, func(_ context.Context, d *transport.Delivery) transport.Outcome {
			r.see(agent, d)
			return transport.Done()
		}, &transport.SubscribeOptions{Group: agent + "." + envelope.NewID(), Ephemeral: true})
	}
	start := driver.Start{At: driver.StartTime, Time: r.began.Add(-earlier)}
	return t.Browse(ctx, topic, start, true, func(d *transport.Delivery) bool {
		r.see(agent, d)
		return ctx.Err() == nil
	})
}

func (r *round) see(agent string, d *transport.Delivery) {
	if d.Envelope != nil {
		r.take(agent, d.Envelope)
	}
}

// take notes a dead letter if it comes of a task of this round.
func (r *round) take(agent string, letter *envelope.Envelope) {
	task, ours := r.tasks[letter.CorrelationID]
	if !ours {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.letters[task.Path] = agent + ": " + letter.Reserved(envelope.AttrDeadLetterError)
}

// wait returns when nothing is pending, or with the reason why ctx ended.
func (r *round) wait(ctx context.Context, p *progress) error {
	for {
		looked := time.Now()
		r.look()
		p.show(r.counts())
		if len(r.pending) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(max(glance, 10*time.Since(looked))): // a large folder is looked at less often
		}
	}
}

// look takes out of pending what has a brief or a dead letter. A brief counts
// more: of a task that was delivered twice one may have failed.
func (r *round) look() {
	r.mu.Lock()
	letters := r.letters
	r.letters = make(map[string]string)
	r.mu.Unlock()
	maps.Copy(r.dead, letters)
	r.pending = slices.DeleteFunc(r.pending, func(document string) bool {
		if hasBrief(r.shelf, document) {
			delete(r.dead, document)
			return true
		}
		_, dead := r.dead[document]
		return dead
	})
}

func (r *round) counts() (briefs, dead int) {
	return len(r.documents) - len(r.pending) - len(r.dead), len(r.dead)
}

// summary is the closing line.
func (r *round) summary(redelivered int64) string {
	briefs, dead := r.counts()
	return fmt.Sprintf("documents %d, briefs %d, dead letters %d, redelivered %d, elapsed %s",
		len(r.documents), briefs, dead, redelivered, time.Since(r.began).Round(10*time.Millisecond))
}
