package chaos

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/all"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/router"
	"github.com/anywire/anywire/transport"
)

// roleVariable holds the role of this process, as JSON.
const roleVariable = "ANYWIRE_CHAOS_WORKER"

// The names of topics and agents.
const (
	intake, refine, sink            = "intake", "refine", "sink"
	topicIn, topicParts, topicDones = "chaos.in", "chaos.parts", "chaos.results"
)

// Task is a number of a key.
type Task struct {
	Key string
	N   int
}

// WireType is the task's name.
func (Task) WireType() string { return "chaos.task@1" }

// Part is one of those that intake makes of a task. Said differs from attempt to
// attempt.
type Part struct {
	Key        string
	N          int
	Part, Said string
	Sum        string // of Said
}

// WireType is the part's name.
func (Part) WireType() string { return "chaos.part@1" }

// Result is what refine makes of a part.
type Result Part

// WireType is the result's name.
func (Result) WireType() string { return "chaos.result@1" }

// What a worker breaks on purpose, for the negative controls.
const (
	noRecords    = "no records"             // idempotency is off
	ackFirst     = "acknowledge first"      // and handle later
	markFirst    = "mark before the effect" // the record is completed first
	noTokens     = "tokens are not compared"
	startNewest  = "start at newest"
	forgetBroker = "the broker keeps nothing"
)

// role is what a worker process does.
type role struct {
	Name      string
	History   string            // folder
	Service   string            // URL
	Transport string            // kind
	Options   json.RawMessage   // of the transport's entry
	Stores    map[string]string // kind sqlite: name to path
	Odds      float64           // of a crash at each point
	Break     string
	Lease     time.Duration
}

// worker is a process that runs the three agents.
type worker struct {
	role    role
	journal *journal
	crash   *crasher
	client  *http.Client
}

// PlayRole is the main function of a worker process, when this is one: it reports
// whether it was, and the exit code.
func PlayRole() (code int, played bool) {
	text := os.Getenv(roleVariable)
	if text == "" {
		return 0, false
	}
	go func() { // it ends with its parent
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(4)
	}()
	if err := play(text); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		return 1, true
	}
	return 0, true
}

func play(text string) error {
	w := &worker{client: &http.Client{Timeout: 5 * time.Second}}
	if err := json.Unmarshal([]byte(text), &w.role); err != nil {
		return fmt.Errorf("role: %w", err)
	}
	var err error
	if w.journal, err = openJournal(w.role.History, w.role.Name); err != nil {
		return err
	}
	w.crash = &crasher{w.journal, w.role.Odds}
	log, err := os.OpenFile(filepath.Join(w.role.History, w.role.Name+".log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	app, err := w.app(slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		return err
	}
	w.journal.note(Event{What: up})
	return app.Run(ctx)
}

func (w *worker) app(log *slog.Logger) (*anywire.App, error) {
	c, err := w.role.config(w.role.Break)
	if err != nil {
		return nil, err
	}
	app := anywire.New(&anywire.Options{Config: c, Kinds: wrapped(all.Options().Kinds, w), Logger: log, Observe: w.observe})
	app.UsePublish(w.crash.publishing)
	anywire.Consume(app, intake, w.intake)
	anywire.Handle(app, refine, w.refine)
	anywire.Consume(app, sink, w.sink)
	return app, nil
}

// config is a worker's, and the producer's.
func (r *role) config(broken string) (*config.Config, error) {
	doc := map[string]any{
		"version": 1, "name": "chaos", "transport": "bus",
		"topics": map[string]any{topicIn: shards, topicParts: shards, topicDones: shards},
		"defaults": map[string]any{
			"lease": r.Lease.String(), "timeout": "20s", "drain_timeout": "3s", "concurrency": 16,
			"retry": map[string]any{"immediate": 1, "delayed": 200, "backoff": "50ms..1s"},
		},
		"idempotency": map[string]any{"store": "auto", "ttl": "12h"},
	}
	agents := map[string]any{}
	for name, wires := range map[string][2]string{intake: {topicIn, topicParts}, refine: {topicParts, topicDones}, sink: {topicDones, ""}} {
		agent := map[string]any{"consumes": wires[0], "order": "key"}
		if wires[1] != "" {
			agent["produces"] = wires[1]
		}
		if broken == startNewest {
			agent["from"] = "now"
		}
		agents[name] = agent
	}
	doc["agents"] = agents
	entry := map[string]any{}
	if err := json.Unmarshal(r.Options, &entry); err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	entry["kind"] = r.Transport
	doc["transports"] = map[string]any{"bus": entry}
	for name, path := range r.Stores {
		doc["stores"] = map[string]any{name: map[string]any{"kind": "sqlite", "path": path}}
		doc["idempotency"] = map[string]any{"store": name, "ttl": "12h"}
	}
	if broken == noRecords {
		doc["idempotency"] = map[string]any{"store": "none"}
	}
	text, err := json.Marshal(doc) // JSON is YAML
	if err != nil {
		return nil, err
	}
	return config.Parse("chaos.yaml", text)
}

var shards = map[string]any{"shards": 2}

// intake makes the parts of a task.
func (w *worker) intake(ctx context.Context, t Task) error {
	w.start(ctx, intake, t.Key, t.N, "")
	for _, part := range parts {
		p := Part{Key: t.Key, N: t.N, Part: part, Said: rand.Text()}
		p.Sum = sum(p.Said)
		if err := anywire.Emit(ctx, p, envelope.WithExtension("part", part)); err != nil {
			return err
		}
	}
	return nil
}

// refine answers with something that is never the same.
func (w *worker) refine(ctx context.Context, p Part) (Result, error) {
	w.start(ctx, refine, p.Key, p.N, p.Part)
	r := Result(p)
	r.Said += " " + rand.Text()
	r.Sum = sum(r.Said)
	if p.Sum != sum(p.Said) {
		r.Sum = "bad"
	}
	hold := time.Millisecond
	if w.role.Break == noTokens { // so that a pause meets handlers
		hold = 150 * time.Millisecond
	}
	return r, pause(ctx, hold)
}

// sink has the effect, under a key that is the same for every attempt.
func (w *worker) sink(ctx context.Context, r Result) error {
	w.start(ctx, sink, r.Key, r.N, r.Part)
	e := effect{
		EffectKey: idempotency.EffectKey(ctx, "take"), Key: r.Key, N: r.N, Part: r.Part, Bad: r.Sum != sum(r.Said),
	}
	if w.role.Break == ackFirst {
		go func() {
			late := context.WithoutCancel(ctx)
			_ = pause(late, 50*time.Millisecond)
			_ = take(late, w.client, w.role.Service, e)
		}()
		return nil
	}
	w.crash.at(beforeEffect)
	err := take(ctx, w.client, w.role.Service, e)
	w.crash.at(afterEffect)
	return err
}

func (w *worker) start(ctx context.Context, agent, key string, n int, part string) {
	in := anywire.Envelope(ctx)
	w.journal.note(Event{What: started, Agent: agent, Key: key, N: n, Part: part, ID: in.ID})
}

func sum(text string) string {
	hash := sha256.Sum256([]byte(text))
	return hex.EncodeToString(hash[:8])
}

// observe notes what the engine tells.
func (w *worker) observe(e transport.Event) {
	switch e := e.(type) {
	case transport.Redelivered:
		w.journal.note(Event{What: redelivery, ID: e.ID})
	case transport.Lost:
		w.journal.note(Event{What: leaseLost, ID: e.ID, Detail: e.Reason})
	case router.Deduplicated:
		w.journal.note(Event{What: duplicate, Agent: e.Agent, ID: e.ID})
	case router.DeadLettered:
		w.journal.note(Event{What: deadLetter, Agent: e.Agent, ID: e.ID, Detail: strings.TrimSpace(string(e.Reason) + " " + e.Err.Error())})
	case transport.Changed:
		w.journal.note(Event{What: blocked, Agent: e.Health.Group, Detail: string(e.Health.State) + ": " + e.Health.Reason})
	}
}
