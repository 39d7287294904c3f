package model

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/anywire/anywire"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// DefaultName is the model that is asked for unless another is named.
const DefaultName = "gpt-4o-mini"

const (
	// maxWait bounds what a server may ask us to wait.
	maxWait = 10 * time.Minute
	// maxAnswer bounds what is read of one answer.
	maxAnswer = 4 << 20
)

// Options say which model is asked.
type Options struct {
	// BaseURL is where the API lives, for example http://localhost:11434/v1.
	BaseURL string
	// Key is sent as bearer token. Servers of one's own often need none.
	Key string
	// Name of the model; empty means DefaultName.
	Name string
}

// Client asks one model. It may be used concurrently.
type Client struct {
	completions openai.ChatCompletionService
	name        string
}

// New returns a client. It connects to nothing.
func New(o Options) *Client {
	if o.Name == "" {
		o.Name = DefaultName
	}
	options := []option.RequestOption{
		option.WithBaseURL(o.BaseURL),
		// How often and when to try again is the agents' policy, for every
		// transport and every failure alike.
		option.WithMaxRetries(0),
		option.WithMiddleware(bounded),
	}
	if o.Key != "" {
		options = append(options, option.WithAPIKey(o.Key))
	}
	return &Client{completions: openai.NewChatCompletionService(options...), name: o.Name}
}

// bounded keeps an answer without end out of memory.
func bounded(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
	res, err := next(r)
	if err == nil && res.Body != nil {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, maxAnswer), res.Body}
	}
	return res, err
}

// Ask gives the model an instruction and a text, and returns its whole answer.
// It asks once and blocks until the answer is there or ctx ends.
//
// What trying again cannot mend (a wrong key, a refused text) is rejected, what
// the server asks to be tried later is a RetryAfter, and everything else, a
// truncated answer for one, an error to be retried by policy.
func (c *Client) Ask(ctx context.Context, instruction, text string) (string, error) {
	answer, err := c.completions.New(ctx, openai.ChatCompletionNewParams{
		Model:       c.name,
		Temperature: openai.Float(0),
		Messages: []openai.ChatCompletionMessageParamUnion{
			openai.SystemMessage(instruction), openai.UserMessage(text),
		},
	})
	if err != nil {
		return "", c.failure(err)
	}
	if len(answer.Choices) == 0 {
		return "", fmt.Errorf("model %s answered without a choice", c.name)
	}
	choice := answer.Choices[0]
	switch choice.FinishReason {
	case "length":
		return "", fmt.Errorf("model %s ran into its length limit, the answer is cut off", c.name)
	case "content_filter":
		return "", anywire.Reject(fmt.Errorf("model %s refused the text by its content filter", c.name))
	}
	if refusal := choice.Message.Refusal; refusal != "" {
		return "", anywire.Reject(fmt.Errorf("model %s refused: %s", c.name, refusal))
	}
	said := strings.TrimSpace(choice.Message.Content)
	if said == "" {
		return "", fmt.Errorf("model %s answered nothing", c.name)
	}
	return said, nil
}

// failure says what the handler should do about an error of the API.
func (c *Client) failure(err error) error {
	var api *openai.Error
	if !errors.As(err, &api) {
		return fmt.Errorf("ask model %s: %w", c.name, err)
	}
	err = fmt.Errorf("ask model %s: %d %s: %s", c.name, api.StatusCode, http.StatusText(api.StatusCode), api.Message)
	switch wait, asked := retryAfter(api.Response, time.Now()); {
	case asked && (api.StatusCode == http.StatusTooManyRequests || api.StatusCode >= http.StatusInternalServerError):
		return anywire.RetryAfter(wait, err)
	case api.StatusCode >= http.StatusInternalServerError, mayPass(api.StatusCode):
		return err
	}
	return anywire.Reject(err)
}

// mayPass reports whether a client's error is one of time, not of the request.
func mayPass(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return false
}

// retryAfter reads how long the server wants to be left alone: seconds or a
// date, as HTTP has it.
func retryAfter(res *http.Response, now time.Time) (time.Duration, bool) {
	if res == nil {
		return 0, false
	}
	value := res.Header.Get("Retry-After")
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, maxWait.Seconds()) * float64(time.Second)), true
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(date.Sub(now), 0), maxWait), true
	}
	return 0, false
}
