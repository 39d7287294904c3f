package idempotency

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Kind is a sort of store that a configuration may name. [NewKind] makes one;
// users only list them.
type Kind interface {
	// KindName is what `kind:` says in YAML.
	KindName() string
	// NewOptions returns a pointer to the zero value of the kind's options
	// struct, whose fields are the keys of a store's entry.
	NewOptions() any
	// OpenStore opens what an entry describes (a value of the options struct, or
	// a pointer to one; nil is the zero value). A [Closer] is closed by the app.
	OpenStore(ctx context.Context, options any, s Shared) (Store, error)
	// OpenOn opens a store on the client of a transport that is open; nil and no
	// error: the client is not one that this kind works with. The client stays the
	// transport's.
	OpenOn(ctx context.Context, client any, s Shared) (Store, error)
}

// Shared is what every store is told, whatever its kind.
type Shared struct {
	Prefix     string        // stands before the names of everything that is kept
	TTL        time.Duration // the longest that a record is asked to be kept
	MaxRecords int           // 0: no bound of its own
	Logger     *slog.Logger  // nil discards
}

// NewKind describes a sort of store whose options are an O. on is nil for one
// that is never opened on a transport's client, open nil for one that only is.
func NewKind[O any](
	name string,
	open func(ctx context.Context, o O, s Shared) (Store, error),
	on func(ctx context.Context, client any, s Shared) (Store, error),
) Kind {
	return kind[O]{name, open, on}
}

type kind[O any] struct {
	name string
	open func(context.Context, O, Shared) (Store, error)
	on   func(context.Context, any, Shared) (Store, error)
}

func (k kind[O]) KindName() string { return k.name }

func (k kind[O]) NewOptions() any { return new(O) }

func (k kind[O]) OpenStore(ctx context.Context, options any, s Shared) (Store, error) {
	if k.open == nil {
		return nil, fmt.Errorf("store kind %q has no entry of its own: it lives on a transport, so name that", k.name)
	}
	var o O
	switch given := options.(type) {
	case nil:
	case *O:
		if given != nil {
			o = *given
		}
	case O:
		o = given
	default:
		return nil, fmt.Errorf("options of store kind %q are a %T: use %T", k.name, options, o)
	}
	return k.open(ctx, o, s)
}

func (k kind[O]) OpenOn(ctx context.Context, client any, s Shared) (Store, error) {
	if k.on == nil {
		return nil, nil
	}
	return k.on(ctx, client, s)
}
