package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anywire/anywire/all"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
	"github.com/anywire/anywire/transport/natsdriver"
	"github.com/anywire/anywire/transport/natsdriver/embedded"
)

const (
	// reachTimeout bounds what a command waits for one broker.
	reachTimeout = 10 * time.Second
	// leaveTimeout bounds closing a connection.
	leaveTimeout = 5 * time.Second
)

// system is a configuration whose brokers a command talks to. Unlike an app, it
// makes no topic that nobody asked it for.
type system struct {
	*config.Config

	kinds map[string]transport.Kind
	log   *slog.Logger
}

// system reads the configuration; its problems have been printed.
func (f *files) system(cmd *cobra.Command) (*system, error) {
	c, err := f.checked(cmd)
	if err != nil {
		return nil, err
	}
	return newSystem(c, cmd.ErrOrStderr()), nil
}

func newSystem(c *config.Config, errs io.Writer) *system {
	s := &system{Config: c, kinds: map[string]transport.Kind{}}
	s.log = slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: slog.LevelWarn}))
	add := func(k transport.Kind) { s.kinds[k.KindName()] = k }
	add(memory.Kind())
	for _, k := range all.Options().Kinds {
		if k, ok := k.(transport.Kind); ok {
			add(k)
		}
	}
	return s
}

// transportNames are those of the configuration, memory included where it is
// used without an entry.
func (s *system) transportNames() []string {
	names := slices.Collect(maps.Keys(s.Transports))
	names = append(names, s.used()...)
	slices.Sort(names)
	return slices.Compact(names)
}

// used are the transports on which topics live.
func (s *system) used() []string {
	var names []string
	for _, t := range s.topics() {
		names = append(names, t.transport)
	}
	if len(names) == 0 {
		names = append(names, s.DefaultTransport())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// chosen are the transports that a command is about: the one that a flag names,
// or those in use.
func (s *system) chosen(flag string) ([]string, error) {
	if flag == "" {
		return s.used(), nil
	}
	return []string{flag}, s.mustHave(flag)
}

// mustHave refuses a transport that the configuration does not have.
func (s *system) mustHave(name string) error {
	if _, ok := s.Kind(name); ok {
		return nil
	}
	return fmt.Errorf("there is no transport %q in the configuration: there is %s%s",
		name, strings.Join(s.transportNames(), ", "), maybe(name, s.transportNames()))
}

// options are those of a transport, as its driver takes them.
func (s *system) options(name string) (transport.Kind, any, error) {
	kindName, _ := s.Kind(name)
	kind, ok := s.kinds[kindName]
	if !ok {
		return nil, nil, fmt.Errorf("there is no transport %q", name)
	}
	o := kind.NewOptions()
	if err := s.Decode("transports."+name, o); err != nil {
		return nil, nil, err
	}
	if o, ok := o.(interface{ SetLogger(log *slog.Logger) }); ok {
		o.SetLogger(s.log.With("transport", name))
	}
	if o, ok := o.(interface{ SetSystem(name string) }); ok {
		o.SetSystem(s.Transports[name].Prefix + s.System())
	}
	return kind, o, nil
}

// isLocal reports whether a transport lives and dies with the process of the
// agents, where no command can look.
func (s *system) isLocal(name string) bool {
	kind, _ := s.Kind(name)
	return kind == config.Memory
}

func errLocal(name string) error {
	return fmt.Errorf("transport %q lives in the memory of the process that runs the agents, and this is another one: "+
		"use kind: embedded with listen:, or a broker", name)
}

// errNoFolder is an embedded transport that nobody has used yet.
var errNoFolder = errors.New("does not exist yet: the agents make it when they first run")

// open connects to a transport. An embedded one that another process has open is
// reached where it listens. Where create is not set, no folder is made.
func (s *system) open(ctx context.Context, name string, create bool) (*transport.Transport, error) {
	if s.isLocal(name) {
		return nil, errLocal(name)
	}
	kind, o, err := s.options(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, reachTimeout, fmt.Errorf("no answer within %v", reachTimeout))
	defer cancel()
	d, err := s.connect(ctx, kind, o, create)
	if err != nil {
		return nil, s.brokerError(name, err)
	}
	return transport.New(d, &transport.Options{
		Name: name, Logger: s.log, Prefix: s.Transports[name].Prefix, OwnsDriver: true, Plain: s.plainTopics(name),
		Limits: &envelope.Limits{Body: int(s.Limits.Body), Attributes: s.Limits.Attributes, AttributeBytes: int(s.Limits.AttributeBytes)},
	}), nil
}

// plainTopics are those of a transport that clients without CloudEvents use, with
// the type of what those write.
func (s *system) plainTopics(on string) map[string]string {
	plain := map[string]string{}
	for topic, entry := range s.Topics {
		if lives, err := s.Where(topic); err == nil && lives == on && entry.Plain != "" {
			plain[topic] = entry.Plain
		}
	}
	return plain
}

// brokerError is what is wrong with a transport, with the place of its entry.
type brokerError struct {
	config.Problem

	err error
}

func (e *brokerError) Unwrap() []error { return []error{e.Problem, e.err} }

func (s *system) brokerError(name string, err error) error {
	return &failure{&brokerError{s.Problem("transports."+name, err.Error(), ""), err}}
}

func (s *system) connect(ctx context.Context, kind transport.Kind, o any, create bool) (driver.Driver, error) {
	own, isEmbedded := o.(*embedded.Options)
	if isEmbedded && !create {
		if err := folderOf(own); err != nil {
			return nil, err
		}
	}
	d, err := kind.Open(ctx, o)
	if isEmbedded && errors.Is(err, driver.ErrHeld) && own.Listen != "" {
		return natsdriver.Open(ctx, natsdriver.Options{
			URL: "nats://" + own.Listen, Monitoring: "none", Logger: own.Logger,
			PublishTimeout: own.PublishTimeout, MaxPending: own.MaxPending, MaxBody: own.MaxBody,
		})
	}
	return d, err
}

// folderOf is an error where an embedded transport has no folder yet.
func folderOf(o *embedded.Options) error {
	dir := o.Dir
	if dir == "" {
		dir = embedded.DefaultDir
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("folder %s %w", dir, errNoFolder)
	}
	return nil
}

// leave closes a transport; what goes wrong with that concerns nobody any more.
func leave(ctx context.Context, t *transport.Transport) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	_ = t.Close(ctx)
}

// maybe proposes what a misspelled name could be.
func maybe(name string, names []string) string {
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return ""
}

// nearest is the name with the fewest differences, if they are few.
func nearest(name string, names []string) string {
	best, least := "", len(name)/3+1
	for _, candidate := range names {
		if n := differences(name, candidate); n < least {
			best, least = candidate, n
		}
	}
	return best
}

// differences counts the letters to insert, remove or replace between two names.
func differences(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
