package payments

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// BusyError says that the API wants to be left alone for a while.
type BusyError struct {
	After time.Duration
}

// Error is the message.
func (e *BusyError) Error() string { return "the payment API has too much to do" }

// RefusedError says that the API will never make this charge.
type RefusedError struct {
	Status int
	Reason string
}

// Error is the message.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the payment API refuses the charge: %d %s", e.Status, e.Reason)
}

// Client asks the API at URL. It may be used concurrently.
type Client struct {
	URL string
}

// maxAnswer bounds what is read of one answer.
const maxAnswer = 16 << 20

// Charge asks once for a charge under a key, and blocks until the answer is there
// or ctx ends. The error is a [BusyError], a [RefusedError], or one after which
// nobody knows whether the charge was made: ask again, under the same key.
func (c *Client) Charge(ctx context.Context, r Request, key string) (receipt string, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/charges", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	// net/http repeats a request with this header by itself when its connection
	// was cut. Rightly so, but here a failure is to be seen as one.
	request.GetBody = nil
	request.Header.Set(keyHeader, key)
	made, err := do(request)
	if err != nil {
		return "", err
	}
	if len(made) != 1 || made[0].Receipt == "" {
		return "", errors.New("the payment API answers without a receipt")
	}
	return made[0].Receipt, nil
}

// Charges lists all that were made.
func (c *Client) Charges(ctx context.Context) ([]Charge, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+"/charges", http.NoBody)
	if err != nil {
		return nil, err
	}
	return do(request)
}

// do asks, and returns the charges of the answer.
func do(request *http.Request) (charges []Charge, err error) {
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	switch {
	case err != nil:
		return nil, fmt.Errorf("answer of the payment API: %w", err)
	case answer.StatusCode == http.StatusOK:
		err = json.Unmarshal(text, &charges)
		return charges, err
	case answer.StatusCode == http.StatusTooManyRequests:
		seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After")) // none: at once
		return nil, &BusyError{After: time.Duration(seconds) * time.Second}
	case answer.StatusCode < http.StatusInternalServerError:
		return nil, &RefusedError{Status: answer.StatusCode, Reason: strings.TrimSpace(string(text))}
	default:
		return nil, fmt.Errorf("payment API: %d %s", answer.StatusCode, strings.TrimSpace(string(text)))
	}
}
