package envelope

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

func TestCodeIsAnError(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("ask oracle: %w", &Error{Code: Expired, Message: "no answer within 10s", Err: io.EOF})
	if !errors.Is(err, Expired) || errors.Is(err, Cancelled) {
		t.Errorf("errors.Is does not find the code of %v", err)
	}
	if !errors.Is(err, io.EOF) {
		t.Error("the cause is lost")
	}
	coded, ok := errors.AsType[*Error](err)
	if !ok || coded.Code != Expired {
		t.Errorf("errors.AsType gives %v", coded)
	}
}

func TestCodeAsCause(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(LeaseLost)
	if !errors.Is(context.Cause(ctx), LeaseLost) {
		t.Errorf("cause %v", context.Cause(ctx))
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	cause := errors.New("busy")
	for _, c := range []struct {
		err  error
		want string
	}{
		{&Error{Code: "quota"}, "quota"},
		{&Error{Code: "quota", Message: "42 of 42 calls used"}, "42 of 42 calls used"},
		{&Error{Code: "quota", Message: "42 of 42 calls used", Err: cause}, "42 of 42 calls used: busy"},
		{Reject(cause), "rejected: busy"},
		{Reject(nil), "rejected"},
		{RetryAfter(5*time.Second, cause), "retry after 5s: busy"},
		{RetryAfter(0, nil), "retry"},
		{Expired, "expired"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%#v says %q, want %q", c.err, got, c.want)
		}
	}
}

func TestVerdictsAreNeverNil(t *testing.T) {
	t.Parallel()
	if err := Reject(nil); !errors.Is(err, Rejected) {
		t.Errorf("Reject(nil) is %v", err)
	}
	for d, want := range map[time.Duration]time.Duration{time.Minute: time.Minute, -time.Minute: 0} {
		err := RetryAfter(d, nil)
		coded, ok := errors.AsType[*Error](err)
		if !ok || !errors.Is(err, Retry) || coded.After != want {
			t.Errorf("RetryAfter(%v, nil) is %#v", d, err)
		}
	}
}
