package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// deads is what the commands about dead letters have in common: which letters they
// are about, and where those are.
type deads struct {
	files files

	ids                           []string
	agents                        []string
	reason, typeName, fingerprint string
	older, newer                  string
	olderThan, newerThan          time.Time // zero: no bound

	cmd    *cobra.Command
	system *system
}

func deadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "dead",
		SuggestFor: []string{"dlq", "deadletters", "letters", "failed"},
		Short:      "Look at dead letters, and send them back to their agents",
		Long: `An agent puts what it cannot handle into its dead-letter topic: the original
message, and why. These commands show such letters, send them back to their agent
alone, throw them away, and keep them as files.

On a broker that keeps a log (Kafka) no single letter can be removed: what was
redriven or dropped is noted in the topic <dead-letter topic>.removed, and these
commands pass it over.`,
	}
	cmd.AddCommand(deadListCommand(), deadShowCommand(), deadRedriveCommand(), deadDropCommand(),
		deadExportCommand(), deadImportCommand())
	return cmd
}

// flags adds those that choose letters.
func (d *deads) flags(cmd *cobra.Command) {
	d.files.flag(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&d.agents, "agent", nil, "only letters of the agent `NAME`; may be repeated (default: all)")
	f.StringVar(&d.reason, "reason", "", "only letters with this reason `CODE`, such as timeout")
	f.StringVar(&d.typeName, "type", "", "only messages of type `NAME`, or of NAME@VERSION")
	f.StringVar(&d.fingerprint, "fingerprint", "", "only panics whose stack has this `FINGERPRINT`, or begins so")
	f.StringVar(&d.older, "older", "", "only letters that died longer ago than `AGE`, such as 24h")
	f.StringVar(&d.newer, "newer", "", "only letters that died within the last `AGE`")
	if err := cmd.RegisterFlagCompletionFunc("agent", d.files.completeAgents); err != nil {
		panic(err) // the flag was defined above
	}
}

// isChosen reports whether something says which letters are meant.
func (d *deads) isChosen() bool {
	return len(d.ids)+len(d.agents) > 0 || d.reason != "" || d.typeName != "" || d.fingerprint != "" || d.older != "" || d.newer != ""
}

// begin reads the flags and the configuration.
func (d *deads) begin(cmd *cobra.Command, ids []string) error {
	d.cmd, d.ids = cmd, ids
	for _, bound := range []struct {
		name, text string
		at         *time.Time
	}{{"older", d.older, &d.olderThan}, {"newer", d.newer, &d.newerThan}} {
		if bound.text == "" {
			continue
		}
		age, err := value.ParseDuration(bound.text)
		if err != nil || age <= 0 {
			return d.misuse(fmt.Errorf("--%s %q: use an age such as 15m or 7d", bound.name, bound.text))
		}
		*bound.at = time.Now().Add(-age.Std())
	}
	for _, id := range ids {
		if len(id) < leastOfID {
			return d.misuse(fmt.Errorf("the id %q is too short: give at least %d of its characters", id, leastOfID))
		}
	}
	var err error
	if d.system, err = d.files.system(cmd); err != nil {
		return err
	}
	all := slices.Sorted(maps.Keys(d.system.Agents))
	for _, name := range d.agents {
		if !slices.Contains(all, name) {
			return d.misuse(fmt.Errorf("there is no agent %q in the configuration: there is %s%s",
				name, orDash(strings.Join(all, ", ")), maybe(name, all)))
		}
	}
	if len(d.agents) == 0 {
		d.agents = all
	}
	return nil
}

func (d *deads) misuse(err error) error { return &usageError{of: d.cmd, error: err} }

// deadTopic is a dead-letter topic, and whose letters it holds.
type deadTopic struct {
	name, transport string
	agents          []string
}

// topics are those of the chosen agents.
func (d *deads) topics() []*deadTopic {
	var list []*deadTopic
	for _, name := range d.agents {
		a, _ := d.system.Agent(name)
		i := slices.IndexFunc(list, func(t *deadTopic) bool { return t.name == a.DeadLetter })
		if i < 0 {
			i = len(list)
			list = append(list, &deadTopic{name: a.DeadLetter, transport: a.Transport})
		}
		list[i].agents = append(list[i].agents, name)
	}
	return list
}

// visit calls fn for each topic that is there, with its transport open.
func (d *deads) visit(ctx context.Context, fn func(context.Context, *box) error) error {
	brokers := map[string]*transport.Transport{}
	defer func() {
		for _, t := range brokers {
			leave(ctx, t)
		}
	}()
	for _, topic := range d.topics() {
		broker, open := brokers[topic.transport]
		if !open {
			var err error
			broker, err = d.system.open(ctx, topic.transport, false)
			if errors.Is(err, errNoFolder) {
				continue
			}
			if err != nil {
				return err
			}
			brokers[topic.transport] = broker
		}
		b, err := d.box(ctx, broker, topic)
		if errors.Is(err, driver.ErrNotFound) {
			continue // nothing has died yet
		}
		if err == nil {
			err = fn(ctx, b)
		}
		if err != nil {
			return d.failed(ctx, err)
		}
	}
	return nil
}

// failed is an error that is not the user's.
func (d *deads) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return errInterrupted
	}
	if _, is := errors.AsType[*failure](err); is {
		return err
	}
	return &failure{err}
}

// box is an open dead-letter topic.
type box struct {
	*deadTopic

	of      *deads
	broker  *transport.Transport
	removed *removals // what is gone, where the broker cannot remove it; nil: it can
}

func (d *deads) box(ctx context.Context, broker *transport.Transport, topic *deadTopic) (*box, error) {
	b := &box{deadTopic: topic, of: d, broker: broker}
	ctx, cancel := context.WithTimeoutCause(ctx, reachTimeout, fmt.Errorf("no answer within %v", reachTimeout))
	defer cancel()
	if _, err := lookUp(ctx, broker, topic.name); err != nil {
		return nil, err
	}
	if _, can := broker.Driver().(driver.Remover); can {
		return b, nil
	}
	b.removed = &removals{broker: broker, topic: topic.name + ".removed"}
	return b, b.removed.read(ctx)
}

// each calls fn for every chosen letter, the oldest first, and once more for each
// repeat of it, until fn returns false or an error. What is no dead letter is only
// shown where strangers is set.
func (b *box) each(ctx context.Context, strangers bool, fn func(*letter) (bool, error)) error {
	var failed error
	var seen recent
	err := b.broker.Browse(ctx, b.name, driver.Start{}, false, func(m *transport.Delivery) bool {
		l := letterOf(m)
		if b.removed.has(m.Raw) || !b.of.wants(l, strangers) {
			return ctx.Err() == nil
		}
		l.repeats = l.id != "" && seen.add(l.id)
		var more bool
		more, failed = fn(l)
		return more && failed == nil && ctx.Err() == nil
	})
	if failed != nil {
		return failed
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// remove takes letters out of the topic for good.
func (b *box) remove(ctx context.Context, letters []*letter) error {
	if b.removed != nil {
		return b.removed.note(ctx, letters)
	}
	list := make([]*transport.Delivery, len(letters))
	for i, l := range letters {
		list[i] = l.Delivery
	}
	return b.broker.Remove(ctx, b.name, list...)
}

// wants reports whether a letter is chosen.
func (d *deads) wants(l *letter, strangers bool) bool {
	if l.id == "" {
		return strangers && !d.isNarrow()
	}
	switch {
	case len(d.ids) > 0 && !slices.ContainsFunc(d.ids, l.isNamed),
		!slices.Contains(d.agents, l.agent) && d.system.hasAgent(l.agent),
		d.reason != "" && d.reason != l.reason,
		d.typeName != "" && d.typeName != l.Envelope.Type && d.typeName != l.Envelope.WireType(),
		d.fingerprint != "" && !strings.HasPrefix(l.fingerprint, d.fingerprint),
		!d.olderThan.IsZero() && !l.died.Before(d.olderThan),
		!d.newerThan.IsZero() && l.died.Before(d.newerThan):
		return false
	}
	return true
}

// isNarrow reports whether more than agents chooses letters.
func (d *deads) isNarrow() bool {
	return len(d.ids) > 0 || d.reason != "" || d.typeName != "" || d.fingerprint != "" || d.older != "" || d.newer != ""
}

func (s *system) hasAgent(name string) bool {
	_, ok := s.Agents[name]
	return ok
}

// recent remembers the last ids, so that repeats are known with little memory:
// they stand near each other, since a letter is repeated when its agent dies
// before it has settled the original.
type recent struct{ now, before map[string]struct{} }

// mostRecent is how many ids are remembered at least.
const mostRecent = 16 << 10

// add reports whether an id was there before.
func (r *recent) add(id string) bool {
	_, isNow := r.now[id]
	_, wasBefore := r.before[id]
	if r.now == nil || len(r.now) >= mostRecent {
		r.now, r.before = make(map[string]struct{}), r.now
	}
	r.now[id] = struct{}{}
	return isNow || wasBefore
}
