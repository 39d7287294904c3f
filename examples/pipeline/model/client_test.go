package model

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/envelope"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a server that answers every request in one way and counts them.
type fake struct {
	*Client

	asked atomic.Int32
}

func setup(t *testing.T, answer http.HandlerFunc) *fake {
	t.Helper()
	f := new(fake)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked.Add(1)
		answer(w, r)
	}))
	t.Cleanup(func() {
		server.Close()
		http.DefaultClient.CloseIdleConnections()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	f.Client = New(Options{BaseURL: server.URL + "/v1", Key: "secret", Name: "tiny"})
	return f
}

// says answers with a status, headers and a body.
func says(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func choice(text, reason string) string {
	content, err := json.Marshal(text)
	if err != nil {
		panic(err) // strings can be encoded
	}
	return `{"choices":[{"finish_reason":"` + reason + `","message":{"role":"assistant","content":` + string(content) + `}}]}`
}

func TestAsk(t *testing.T) {
	t.Parallel()
	var got struct {
		Model    string
		Messages []struct{ Role, Content string }
	}
	f := setup(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/chat/completions" || r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("asked %s with %q", r.URL.Path, r.Header.Get("Authorization"))
		}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		says(http.StatusOK, choice("  an answer\n", "stop"))(w, r)
	})
	answer, err := f.Ask(t.Context(), "be short", "a text")
	if err != nil || answer != "an answer" {
		t.Fatalf("answer %q, %v", answer, err)
	}
	if got.Model != "tiny" || len(got.Messages) != 2 || got.Messages[0].Content != "be short" ||
		got.Messages[1].Content != "a text" {
		t.Errorf("the request: %+v", got)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	const retry = anywire.Code("") // by policy: no code
	truncated := choice("an answer", "stop")
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		code   anywire.Code
		after  time.Duration
		text   string
	}{
		"server error":       {says(500, `{"error":{"message":"boom"}}`), retry, 0, "boom"},
		"unavailable, later": {says(503, `{}`, "Retry-After", "3"), envelope.Retry, 3 * time.Second, "503"},
		"no gateway":         {says(502, `<html>bad gateway</html>`), retry, 0, "502"},
		"rate limited":       {says(429, `{"error":{"message":"slow down"}}`, "Retry-After", "7"), envelope.Retry, 7 * time.Second, "slow down"},
		"rate limited, bad":  {says(429, `{}`, "Retry-After", "soon"), retry, 0, "429"},
		"rate limited, long": {says(429, `{}`, "Retry-After", "1e9"), envelope.Retry, maxWait, "429"},
		"wrong key":          {says(401, `{"error":{"message":"wrong key"}}`), anywire.Rejected, 0, "wrong key"},
		"bad request":        {says(400, `{"error":{"message":"too long"}}`), anywire.Rejected, 0, "too long"},
		"timeout there":      {says(408, `{}`), retry, 0, "408"},
		"length":             {says(200, choice("half an", "length")), retry, 0, "cut off"},
		"filtered":           {says(200, choice("", "content_filter")), anywire.Rejected, 0, "content filter"},
		"nothing":            {says(200, choice(" \n", "stop")), retry, 0, "answered nothing"},
		"no choice":          {says(200, `{"choices":[]}`), retry, 0, "without a choice"},
		"truncated JSON":     {says(200, truncated[:len(truncated)/2]), retry, 0, "tiny"},
		"truncated transfer": {says(200, truncated[:20], "Content-Length", "4000"), retry, 0, "tiny"},
		"hung up":            {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, retry, 0, "tiny"},
		"without end":        {endless, retry, 0, "tiny"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, c.answer)
			answer, err := f.Ask(t.Context(), "x", "y")
			if err == nil || answer != "" {
				t.Fatalf("answer %q, no error", answer)
			}
			var coded *anywire.Error
			if errors.As(err, &coded); coded == nil {
				coded = new(anywire.Error)
			}
			if coded.Code != c.code || coded.After != c.after || !strings.Contains(err.Error(), c.text) {
				t.Errorf("code %q after %v, %v; want %q after %v, %q", coded.Code, coded.After, err, c.code, c.after, c.text)
			}
			if n := f.asked.Load(); n != 1 {
				t.Errorf("asked %d times, want once: retrying is the agents' policy", n)
			}
		})
	}
}

// endless sends more than anyone would read.
func endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"choices":[{"message":{"content":"`)
	block := strings.Repeat("a", 64<<10)
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, block); err != nil {
			return
		}
	}
}

func TestSlowAnswerEndsWithTheContext(t *testing.T) {
	t.Parallel()
	f := setup(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // so that the server notices when the client goes
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := f.Ask(ctx, "x", "y")
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, anywire.Rejected) {
		t.Errorf("error %v, want one to be retried", err)
	}
}

func TestRetryAfterByDate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"Sun, 01 Mar 2026 12:00:30 GMT": 30 * time.Second,
		"Sun, 01 Mar 2026 11:00:00 GMT": 0,
		"0.5":                           500 * time.Millisecond,
	} {
		res := &http.Response{Header: http.Header{"Retry-After": {value}}}
		if got, ok := retryAfter(res, now); !ok || got != want {
			t.Errorf("%s: %v, %t, want %v", value, got, ok, want)
		}
	}
	for _, value := range []string{"", "-1", "tomorrow", "NaN"} {
		res := &http.Response{Header: http.Header{"Retry-After": {value}}}
		if got, ok := retryAfter(res, now); ok {
			t.Errorf("%q: %v, want none", value, got)
		}
	}
}
