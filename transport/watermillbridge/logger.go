package watermillbridge

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
)

// Logger gives Watermill's parts log to write to. What they call information is
// of use to who looks for a fault only, and becomes debug; an error that an
// adapter repeats while a broker is away is written once. Nil discards.
func Logger(log *slog.Logger) watermill.LoggerAdapter {
	if log == nil {
		return watermill.NopLogger{}
	}
	return &logger{
		LoggerAdapter: watermill.NewSlogLoggerWithLevelMapping(log, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug}),
		last:          &lastError{},
	}
}

type logger struct {
	watermill.LoggerAdapter

	last *lastError
}

// lastError is what was written last.
type lastError struct {
	mu   sync.Mutex
	text string
}

func (l *lastError) repeats(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	same := l.text == text
	l.text = text
	return same
}

// Error writes what differs from the last error.
func (l *logger) Error(msg string, err error, fields watermill.LogFields) {
	text := msg
	if err != nil {
		text += ": " + err.Error()
	}
	if errors.Is(err, context.Canceled) || l.last.repeats(text) { // the end of a subscription is no error
		l.Debug(text, fields)
		return
	}
	l.LoggerAdapter.Error(msg, err, fields)
}

// With adds fields to every line.
func (l *logger) With(fields watermill.LogFields) watermill.LoggerAdapter {
	return &logger{LoggerAdapter: l.LoggerAdapter.With(fields), last: l.last}
}
