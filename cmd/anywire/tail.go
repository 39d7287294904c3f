package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// tailing is one call of tail.
type tailing struct {
	files files
	on    string

	from, typeName, key string
	limit               int
	follow              bool
	asJSON, body        bool

	topic string
	cmd   *cobra.Command
	out   painter
	shown int
	err   error // of the output
}

func tailCommand() *cobra.Command {
	var t tailing
	cmd := &cobra.Command{
		Use:        "tail TOPIC",
		SuggestFor: []string{"consume", "subscribe", "sub", "read", "browse", "cat"},
		Short:      "Show the messages of a topic, without taking any from its agents",
		Long: `Shows what TOPIC holds: one line per message with its time, position, type, key,
id and size. It joins no group and settles nothing, so agents get every message.

Payloads may be private, so they are shown with --body only. What is no message
of anywire is shown as such, with the reason. --follow goes on with what comes,
until Ctrl-C, and begins now unless --from says otherwise.`,
		Example: `  anywire tail briefs
  anywire tail tasks.research --follow --body
  anywire tail researcher.dead --from 24h --json | jq .extensions.dlerror
  anywire tail tasks.write --type research.result --key rivers --limit 10`,
		Args:              needArgument("TOPIC", "topic of the configuration"),
		ValidArgsFunction: t.files.completeTopic,
		RunE: func(cmd *cobra.Command, args []string) error {
			t.cmd, t.topic, t.out = cmd, args[0], painterFor(cmd.OutOrStdout())
			return t.run(cmd.Context())
		},
	}
	t.files.flag(cmd)
	f := cmd.Flags()
	f.StringVar(&t.from, "from", "",
		"begin at `PLACE`: oldest, now, a time as in RFC 3339, or an age such as 15m (default oldest; with --follow now)")
	f.BoolVarP(&t.follow, "follow", "f", false, "go on with what comes")
	f.StringVar(&t.typeName, "type", "", "only messages of type `NAME`, or of NAME@VERSION")
	f.StringVar(&t.key, "key", "", "only messages of this `KEY`")
	f.IntVarP(&t.limit, "limit", "n", 0, "stop after `N` messages")
	f.BoolVar(&t.body, "body", false, "show payloads")
	f.StringVar(&t.on, "transport", "", "read from the transport `NAME` (default where the topic lives)")
	jsonFlag(cmd, &t.asJSON)
	completeTransports(cmd, &t.files)
	return cmd
}

func (t *tailing) run(ctx context.Context) error {
	start, err := t.start(time.Now())
	if err != nil {
		return &usageError{of: t.cmd, error: err}
	}
	s, err := t.files.system(t.cmd)
	if err != nil {
		return err
	}
	if t.on == "" {
		if t.on, err = s.Where(t.topic); err != nil {
			return err
		}
	}
	if err := s.mustHave(t.on); err != nil {
		return &usageError{of: t.cmd, error: err}
	}
	broker, err := s.open(ctx, t.on, false)
	if err != nil {
		return err
	}
	defer leave(ctx, broker)
	switch err := t.browse(ctx, broker, start); {
	case t.err != nil:
		return t.err
	case err == nil, t.follow && ctx.Err() != nil:
		return nil
	case ctx.Err() != nil:
		return errInterrupted
	case errors.Is(err, driver.ErrNotFound):
		return &failure{s.unknownTopic(t.topic, t.on, "")}
	default:
		return &failure{err}
	}
}

// start reads --from.
func (t *tailing) start(now time.Time) (driver.Start, error) {
	if t.limit < 0 {
		return driver.Start{}, fmt.Errorf("--limit %d is negative", t.limit)
	}
	if err := config.CheckTopic(t.topic); err != nil {
		return driver.Start{}, err
	}
	from := t.from
	switch {
	case from == "" && t.follow, from == "now":
		return driver.Start{At: driver.StartNow}, nil
	case from == "", from == "oldest":
		return driver.Start{}, nil
	}
	if age, err := value.ParseDuration(from); err == nil && age > 0 {
		return driver.Start{At: driver.StartTime, Time: now.Add(-age.Std())}, nil
	}
	at, err := time.Parse(time.RFC3339, from)
	if err != nil {
		return driver.Start{}, fmt.Errorf("--from %q: use oldest, now, a time such as 2026-01-31T00:00:00Z, or an age such as 15m", from)
	}
	return driver.Start{At: driver.StartTime, Time: at}, nil
}

// browse shows messages. One that is idle is left within reachTimeout only if it
// does not follow.
func (t *tailing) browse(ctx context.Context, broker *transport.Transport, start driver.Start) error {
	return broker.Browse(ctx, t.topic, start, t.follow, func(d *transport.Delivery) bool {
		if !t.wanted(d.Envelope) {
			return ctx.Err() == nil
		}
		t.shown++
		t.err = t.show(d)
		return t.err == nil && (t.limit == 0 || t.shown < t.limit)
	})
}

// wanted reports whether a message passes the filters; nil is one that cannot be
// read.
func (t *tailing) wanted(e *envelope.Envelope) bool {
	if t.typeName == "" && t.key == "" {
		return true
	}
	if e == nil || t.key != "" && e.Key != t.key {
		return false
	}
	return t.typeName == "" || t.typeName == e.Type || t.typeName == e.WireType()
}

func (t *tailing) show(d *transport.Delivery) error {
	m := messageOf(d, t.body)
	if t.asJSON {
		return writeLine(t.cmd.OutOrStdout(), m)
	}
	_, err := fmt.Fprintln(t.cmd.OutOrStdout(), m.line(t.out))
	if err == nil && t.body {
		_, err = fmt.Fprintln(t.cmd.OutOrStdout(), indented(m.text))
	}
	if err != nil {
		return &failure{err}
	}
	return nil
}

func indented(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}
