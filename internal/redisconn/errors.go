package redisconn

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// IsAnswer reports whether the server answered with an error that begins so.
func IsAnswer(err error, prefix string) bool {
	var answer redis.Error
	return errors.As(err, &answer) && strings.HasPrefix(answer.Error(), prefix)
}

// IsPassing reports whether the server answered that it did nothing, and may do it
// later.
func IsPassing(err error) bool {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return false
	}
	for _, prefix := range []string{
		"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "EXECABORT",
		"ERR max number of clients",
	} {
		if strings.HasPrefix(answer.Error(), prefix) {
			return true
		}
	}
	return false
}

// IsFinal reports whether it is no use to connect again.
func IsFinal(err error) bool {
	if _, ok := errors.AsType[redis.Error](err); ok {
		return !IsPassing(err)
	}
	var (
		own         finalError
		certificate *tls.CertificateVerificationError
		plain       tls.RecordHeaderError
	)
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return true // the other side's TLS refused ours
	}
	return errors.Is(err, redis.ErrClosed) || errors.As(err, &own) || errors.As(err, &certificate) || errors.As(err, &plain)
}

// finalError is one that waiting does not cure.
type finalError struct{ error }

func (f finalError) Unwrap() error { return f.error }
