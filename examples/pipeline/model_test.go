package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/examples/pipeline/model"
)

// countingAuthor counts the documents it is given, and does something when it
// has had so many.
type countingAuthor struct {
	author

	asked   atomic.Int64
	reached int64
	then    func()
}

func (a *countingAuthor) facts(ctx context.Context, document string) (title string, facts []string, err error) {
	if n := a.asked.Add(1); n == a.reached {
		a.then()
	}
	if a.reached > 0 && a.asked.Load() >= a.reached {
		<-time.After(50 * time.Millisecond) // so that not all is done before the drain begins
	}
	return a.author.facts(ctx, document)
}

// fakeModel answers like a model's API: with the first sentence of what it is
// asked about. Before, it may answer in another way.
func fakeModel(t *testing.T, before func(n int64, w http.ResponseWriter) (done bool)) *httptest.Server {
	t.Helper()
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			Messages []struct {
				Content string `json:"content"`
			} `json:"messages"`
		}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || len(asked.Messages) != 2 {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if before != nil && before(n.Add(1), w) {
			return
		}
		text := strings.TrimSpace(asked.Messages[1].Content)
		said, err := json.Marshal("The model says: " + text[strings.LastIndexByte(text, '\n')+1:])
		if err != nil {
			t.Error(err)
		}
		io.WriteString(w, `{"choices":[{"finish_reason":"stop","message":{"role":"assistant","content":`+string(said)+`}}]}`)
	}))
	t.Cleanup(func() {
		server.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return server
}

// quick retries without much waiting.
func quick(c *config.Config) *config.Config {
	c.Defaults.Retry.Backoff.Min, c.Defaults.Retry.Backoff.Max = value.Duration(10*time.Millisecond), value.Duration(50*time.Millisecond)
	return c
}

// A model that is slow, fails, limits its rate and cuts answers off still gives
// every brief in the end.
func TestModelThatMisbehaves(t *testing.T) {
	t.Parallel()
	const attempts = 1 + 1 + 10 // of the configuration; fewer bad answers than that cannot use one document's up
	server := fakeModel(t, func(n int64, w http.ResponseWriter) bool {
		if n >= attempts {
			return false
		}
		switch n % 6 {
		case 1:
			w.WriteHeader(http.StatusInternalServerError)
		case 2:
			w.Header().Set("Retry-After", "0.05")
			w.WriteHeader(http.StatusTooManyRequests)
		case 3:
			io.WriteString(w, `{"choices":[{"finish_reason":"length","message":{"content":"half an"}}]}`)
		case 4:
			w.Header().Set("Content-Length", "500")
			io.WriteString(w, `{"choices":[{"finish_reason":"stop","mess`)
		case 5:
			<-time.After(20 * time.Millisecond)
			return false
		default:
			return false
		}
		return true
	})
	in, out := tree(t, corpus(12)), t.TempDir()
	c := quick(load(t, "memory.yaml", ""))
	printed, err := runJob(t.Context(), t, c, modelled{model.New(model.Options{BaseURL: server.URL})}, in, out)
	if err != nil {
		t.Fatal(err)
	}
	wantClosing(t, printed, 12, 12, 0)
	for name, text := range briefs(t, out) {
		if !strings.Contains(text, "The model says: ") || strings.Contains(text, "half an") {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}

// A wrong key is nobody's retry: each document is a dead letter that says so.
func TestModelThatRefuses(t *testing.T) {
	t.Parallel()
	server := fakeModel(t, func(_ int64, w http.ResponseWriter) bool {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"error":{"message":"wrong key"}}`)
		return true
	})
	in, out := tree(t, corpus(3)), t.TempDir()
	printed, err := runJob(t.Context(), t, load(t, "memory.yaml", ""), modelled{model.New(model.Options{BaseURL: server.URL})}, in, out)
	if err != nil {
		t.Fatal(err)
	}
	wantClosing(t, printed, 3, 0, 3)
	if strings.Count(printed, "wrong key") != 3 {
		t.Errorf("the output does not say why:\n%s", printed)
	}
}
