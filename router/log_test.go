package router_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/router"
	"github.com/anywire/anywire/transport/driver"
)

// logbook collects log lines as JSON objects.
type logbook struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

// of lists the lines whose message begins so.
func (l *logbook) of(t *testing.T, message string) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []map[string]any
	decoder := json.NewDecoder(bytes.NewReader(l.lines.Bytes()))
	for decoder.More() {
		line := map[string]any{}
		if err := decoder.Decode(&line); err != nil {
			t.Fatal(err)
		}
		if text, _ := line["msg"].(string); strings.HasPrefix(text, message) {
			found = append(found, line)
		}
	}
	return found
}

// structured is an error that JSON would take for an object.
type structured struct{ Code int }

func (structured) Error() string                { return "structured" }
func (structured) MarshalJSON() ([]byte, error) { return []byte(`{"code":1}`), nil }

func TestLogKeysKeepTheirTypes(t *testing.T) {
	inWorld(t, func(w *world) {
		var log logbook
		w.options.Logger = slog.New(slog.NewJSONHandler(&log, nil))
		w.agent.Policy = router.Policy{}
		w.handle(func(_ context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			switch in.Key {
			case "panics":
				panic("boom")
			case "structured":
				return nil, structured{1}
			default:
				return nil, errors.New("boom")
			}
		})
		w.start()
		for _, key := range []string{"panics", "structured", "fails"} {
			w.publish(message(envelope.WithKey(key)))
		}
		broken := &driver.Message{Headers: []driver.Header{{Name: "ce-specversion", Value: "9"}}, Body: []byte("x")}
		if err := w.transport.Driver().Publish(w.Context(), "in", []*driver.Message{broken}); err != nil {
			w.Fatal(err)
		}
		w.pass(time.Minute)
		lines := log.of(w.T, "message is a dead letter")
		if len(lines) != 4 {
			w.Fatalf("%d dead letters logged, want 4: %v", len(lines), lines)
		}
		stacks, positions := 0, 0
		for _, line := range lines {
			group, isGroup := line["message"].(map[string]any)
			if text, isText := line["error"].(string); !isGroup || !isText || text == "" {
				w.Errorf("message %T, error %T: %v", line["message"], line["error"], line)
			}
			if _, ok := group["position"].(string); ok && group["topic"] == "in" {
				positions++
			}
			if stack, _ := line["stack"].(string); strings.Contains(stack, "log_test.go") {
				stacks++
			}
		}
		if stacks != 1 || positions != 1 {
			w.Errorf("%d stacks and %d positions, want one of each: %v", stacks, positions, lines)
		}
	})
}

func TestAnAbandonedHandlerIsLoggedOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		var log logbook
		w.options.Logger = slog.New(slog.NewJSONHandler(&log, nil))
		w.agent.Policy = router.Policy{Timeout: time.Second}
		release := make(chan struct{})
		w.handle(func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
			<-release
			return nil, nil
		})
		w.start()
		w.publish(message(envelope.WithID("42")))
		w.pass(time.Second + router.Grace)
		if lines := log.of(w.T, "handler ignores"); len(lines) != 0 {
			w.Errorf("too early: %v", lines)
		}
		w.pass(10 * time.Minute)
		lines := log.of(w.T, "handler ignores")
		if len(lines) != 1 || lines[0]["agent"] != "agent" || lines[0]["id"] != "42" || lines[0]["age"].(float64) < float64(router.Grace) {
			w.Errorf("lines %v", lines)
		}
		close(release)
		w.pass(time.Minute)
	})
}
