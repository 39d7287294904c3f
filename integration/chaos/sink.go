package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// effect is what the sink agent asks of the service.
type effect struct {
	EffectKey string
	Key       string
	N         int
	Part      string
	Bad       bool
}

// service takes effects: each idempotency key once, as a payment provider does.
type service struct {
	URL string

	journal *journal
	server  *http.Server
	ended   chan struct{}

	mu   sync.Mutex
	seen map[string]bool
}

func startService(j *journal) (*service, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("service: %w", err)
	}
	s := &service{
		URL: "http://" + listener.Addr().String(), journal: j, seen: map[string]bool{}, ended: make(chan struct{}),
	}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(s.ended)
		_ = s.server.Serve(listener)
	}()
	return s, nil
}

// ServeHTTP takes one effect. It is noted before the answer, which the caller may
// not live to see.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var e effect
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	what := effected
	if s.seen[e.EffectKey] {
		what = repeated
	}
	s.seen[e.EffectKey] = true
	s.journal.note(Event{What: what, Key: e.Key, N: e.N, Part: e.Part, ID: e.EffectKey, Bad: e.Bad})
	w.WriteHeader(http.StatusNoContent)
}

func (s *service) taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

func (s *service) close() {
	_ = s.server.Close()
	<-s.ended
}

// take asks a service for an effect.
func take(ctx context.Context, client *http.Client, url string, e effect) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, response.Body)
	if response.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the service answered %s", response.Status)
	}
	return nil
}
