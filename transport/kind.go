package transport

import (
	"context"
	"fmt"

	"github.com/anywire/anywire/transport/driver"
)

// Kind is a sort of transport that a configuration may name. [NewKind] makes
// one; users only list them.
type Kind interface {
	// KindName is what `kind:` says in YAML.
	KindName() string
	// NewOptions returns a pointer to the zero value of the kind's options
	// struct, whose fields are the keys of a transport's entry. Options that log
	// have a method SetLogger(*slog.Logger) on that pointer: an app calls it with
	// its own logger before Open. Where a logger is set already, it stays. Options
	// of a driver with topics of its own have SetSystem(string), which an app calls
	// with the transport's prefix and the system's name.
	NewOptions() any
	// Capabilities answers for options (a value of the options struct, or a
	// pointer to one; nil is the zero value) without connecting. Options with a
	// method Validate() error are checked by it.
	Capabilities(options any) (driver.Capabilities, error)
	// Open connects.
	Open(ctx context.Context, options any) (driver.Driver, error)
}

// NewKind describes a sort of transport whose options are an O. caps answers
// without connecting; open connects, and is called once per entry of the
// configuration that is used.
func NewKind[O any](
	name string, caps func(O) driver.Capabilities, open func(ctx context.Context, o O) (driver.Driver, error),
) Kind {
	return kind[O]{name, caps, open}
}

type kind[O any] struct {
	name string
	caps func(O) driver.Capabilities
	open func(context.Context, O) (driver.Driver, error)
}

func (k kind[O]) KindName() string { return k.name }

func (k kind[O]) NewOptions() any { return new(O) }

func (k kind[O]) Capabilities(options any) (driver.Capabilities, error) {
	o, err := k.options(options)
	if err != nil {
		return driver.Capabilities{}, err
	}
	if checked, ok := any(o).(interface{ Validate() error }); ok {
		if err := checked.Validate(); err != nil {
			return driver.Capabilities{}, err
		}
	}
	return k.caps(o), nil
}

func (k kind[O]) Open(ctx context.Context, options any) (driver.Driver, error) {
	o, err := k.options(options)
	if err != nil {
		return nil, err
	}
	return k.open(ctx, o)
}

func (k kind[O]) options(options any) (O, error) {
	var zero O
	switch o := options.(type) {
	case nil:
		return zero, nil
	case *O:
		if o == nil {
			return zero, nil
		}
		return *o, nil
	case O:
		return o, nil
	}
	return zero, fmt.Errorf("options of transport kind %q are a %T: use %T", k.name, options, zero)
}
