package driver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// The errors that the engine branches on. Drivers wrap them with %w.
var (
	ErrClosed   = errors.New("closed")
	ErrNotFound = errors.New("not found")
	ErrDenied   = errors.New("denied")
	ErrTooLarge = errors.New("too large")
	ErrStale    = errors.New("stale: another member owns it")
	ErrHeld     = errors.New("held by another")
	ErrName     = errors.New("invalid name") // the broker can have no topic or group like that
)

// BatchError says which messages or settlements of a call failed, by index;
// those that it does not name succeeded.
type BatchError map[int]error

// Err is nil for an empty BatchError, and the error itself otherwise.
func (e BatchError) Err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// Error names the first failure and counts the others.
func (e BatchError) Error() string {
	if len(e) == 0 {
		return "no failure"
	}
	first := slices.Min(slices.Collect(maps.Keys(e)))
	if len(e) == 1 {
		return fmt.Sprintf("message %d: %v", first, e[first])
	}
	return fmt.Sprintf("message %d: %v (and %d more)", first, e[first], len(e)-1)
}

// Unwrap gives every failure to errors.Is, in the order of their indexes.
func (e BatchError) Unwrap() []error {
	errs := make([]error, 0, len(e))
	for _, i := range slices.Sorted(maps.Keys(e)) {
		errs = append(errs, e[i])
	}
	return errs
}

type overflowKey struct{}

// WithOverflow marks a publish that must not wait for room in a bounded topic:
// a handler's own output on a cycle of agents, which would wait for itself.
func WithOverflow(ctx context.Context) context.Context {
	return context.WithValue(ctx, overflowKey{}, true)
}

// MayOverflow reports whether ctx comes from [WithOverflow].
func MayOverflow(ctx context.Context) bool {
	may, _ := ctx.Value(overflowKey{}).(bool)
	return may
}
