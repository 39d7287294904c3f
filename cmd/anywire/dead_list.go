package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anywire/anywire/envelope"
)

// deadListing is one call of dead list.
type deadListing struct {
	deads

	summary, asJSON bool
	limit           int

	shown, repeats, strangers int
	groups                    map[deadGroup]*deadCount
}

func deadListCommand() *cobra.Command {
	var l deadListing
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, or count them by reason",
		Long: `Lists dead letters, the oldest of each agent first: when they died, their id, agent,
reason, attempts, type, and the error. An entry that stands there twice is shown
once. --summary counts them by agent and reason.

Payloads are not shown: anywire dead show ID does.`,
		Example: `  anywire dead list
  anywire dead list --summary
  anywire dead list --agent researcher --reason timeout --newer 1h --json`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := l.begin(cmd, nil); err != nil {
				return err
			}
			return l.run(cmd.Context())
		},
	}
	l.flags(cmd)
	cmd.Flags().BoolVar(&l.summary, "summary", false, "count letters by agent and reason")
	cmd.Flags().IntVarP(&l.limit, "limit", "n", 0, "stop after `N` letters")
	jsonFlag(cmd, &l.asJSON)
	return cmd
}

// deadGroup is what dead list --summary counts by.
type deadGroup struct{ agent, reason string }

type deadCount struct {
	Agent  string    `json:"agent"`
	Reason string    `json:"reason"`
	Count  int       `json:"count"`
	Oldest time.Time `json:"oldest"`
	Newest time.Time `json:"newest"`
}

// deadLine is what dead list --json prints of a letter.
type deadLine struct {
	ID          string     `json:"id,omitempty"`
	Agent       string     `json:"agent,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	Error       string     `json:"error,omitempty"`
	Died        *time.Time `json:"died"`
	First       string     `json:"first,omitempty"`
	Attempts    int        `json:"attempts,omitempty"`
	Host        string     `json:"host,omitempty"`
	Fingerprint string     `json:"fingerprint,omitempty"`
	From        string     `json:"from,omitempty"` // the topic that the original was read from
	Redrives    int        `json:"redrives,omitempty"`
	Message     *message   `json:"message"`
}

func (l *deadListing) run(ctx context.Context) error {
	l.groups = map[deadGroup]*deadCount{}
	out, paint := l.cmd.OutOrStdout(), painterFor(l.cmd.OutOrStdout())
	err := l.visit(ctx, func(ctx context.Context, b *box) error {
		return b.each(ctx, true, func(one *letter) (bool, error) {
			switch {
			case one.repeats:
				l.repeats++
				return true, nil
			case one.id == "":
				l.strangers++
			default:
				l.shown++
			}
			var err error
			switch {
			case l.summary:
				l.count(one)
			case l.asJSON:
				err = writeLine(out, one.described(false))
			default:
				_, err = fmt.Fprintln(out, one.line(paint))
			}
			return l.limit == 0 || l.shown+l.strangers < l.limit, err
		})
	})
	if err != nil {
		return err
	}
	if l.summary {
		return l.showGroups()
	}
	if !l.asJSON {
		fmt.Fprintln(l.cmd.ErrOrStderr(), l.total())
	}
	return nil
}

func (l *deadListing) total() string {
	text := count(l.shown, "dead letter")
	if l.repeats > 0 {
		text += fmt.Sprintf(" (%s not shown)", count(l.repeats, "repeat"))
	}
	if l.strangers > 0 {
		text += ", and " + count(l.strangers, "message") + " that no agent put there"
	}
	return text
}

func (l *deadListing) count(one *letter) {
	key := deadGroup{orDash(one.agent), cmp.Or(one.reason, "no dead letter")}
	c := l.groups[key]
	if c == nil {
		c = &deadCount{Agent: key.agent, Reason: key.reason, Oldest: one.died.UTC(), Newest: one.died.UTC()}
		l.groups[key] = c
	}
	c.Count++
	if one.died.Before(c.Oldest) {
		c.Oldest = one.died.UTC()
	}
	if one.died.After(c.Newest) {
		c.Newest = one.died.UTC()
	}
}

func (l *deadListing) showGroups() error {
	groups := slices.SortedFunc(maps.Values(l.groups), func(a, b *deadCount) int {
		return cmp.Or(cmp.Compare(a.Agent, b.Agent), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	if l.asJSON {
		if groups == nil {
			groups = []*deadCount{}
		}
		return writeJSON(l.cmd.OutOrStdout(), map[string]any{"letters": l.shown, "repeats": l.repeats, "groups": groups})
	}
	rows := [][]string{{"AGENT", "REASON", "LETTERS", "OLDEST", "NEWEST"}}
	for _, c := range groups {
		rows = append(rows, []string{
			harmless(c.Agent, ""), harmless(c.Reason, ""), strconv.Itoa(c.Count),
			ageText(time.Since(c.Oldest)), ageText(time.Since(c.Newest)),
		})
	}
	columns(l.cmd.OutOrStdout(), rows)
	return nil
}

func (l *letter) described(body bool) *deadLine {
	line := &deadLine{
		ID: l.id, Agent: l.agent, Reason: l.reason, Fingerprint: l.fingerprint, Died: known(l.died),
		Message: messageOf(l.Delivery, body),
	}
	e := l.Envelope
	if e == nil {
		return line
	}
	line.Error, line.First = e.Reserved(envelope.AttrDeadLetterError), e.Reserved(envelope.AttrDeadLetterFirst)
	line.Host, line.From, line.Redrives = e.Reserved(envelope.AttrDeadLetterHost), e.Reserved(envelope.AttrDeadLetterTopic), e.Redrive
	line.Attempts, _ = strconv.Atoi(e.Reserved(envelope.AttrDeadLetterAttempts)) // 0: it does not say
	return line
}

// line is a letter on a terminal.
func (l *letter) line(p painter) string {
	at := "-"
	if !l.died.IsZero() {
		at = l.died.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	if l.id == "" {
		return p.paint(faint, at) + "  " + p.paint(red, "no dead letter: ") + messageOf(l.Delivery, false).line(p)
	}
	e := l.Envelope
	parts := []string{
		p.paint(faint, at), p.paint(bold, harmless(shortID(l.id), "")), harmless(l.agent, ""), p.paint(red, harmless(l.reason, "")),
		"attempts=" + harmless(orDash(e.Reserved(envelope.AttrDeadLetterAttempts)), ""), harmless(e.WireType(), ""),
	}
	if e.Key != "" {
		parts = append(parts, "key="+harmless(e.Key, ""))
	}
	if l.fingerprint != "" {
		parts = append(parts, "fingerprint="+harmless(l.fingerprint, ""))
	}
	text, _, _ := strings.Cut(e.Reserved(envelope.AttrDeadLetterError), "\n")
	return strings.Join(append(parts, harmless(text, "")), "  ")
}

// shortID is enough of an id to name a letter.
func shortID(id string) string {
	const enough = 12
	return id[:min(len(id), enough)]
}

// deadShowing is one call of dead show.
type deadShowing struct {
	deads

	asJSON bool
}

func deadShowCommand() *cobra.Command {
	var s deadShowing
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show all of a dead letter, its payload included",
		Long: `Shows a dead letter: why it died, every attribute, and the payload. ID is the
letter's, as dead list prints it, or the beginning of it, or that of the message.`,
		Example:           "  anywire dead show k3vq7x2m4t6a\n  anywire dead show k3vq7x2m4t6a --json",
		Args:              needArgument("ID", "id of a dead letter, as anywire dead list prints it"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.begin(cmd, args); err != nil {
				return err
			}
			return s.run(cmd.Context())
		},
	}
	s.flags(cmd)
	jsonFlag(cmd, &s.asJSON)
	return cmd
}

func (s *deadShowing) run(ctx context.Context) error {
	one, err := s.theOne(ctx)
	if err != nil {
		return err
	}
	out := s.cmd.OutOrStdout()
	if s.asJSON {
		return writeJSON(out, one.described(true))
	}
	e, m := one.Envelope, messageOf(one.Delivery, true)
	rows := [][]string{
		{"dead letter", one.id},
		{"agent", one.agent},
		{"reason", one.reason},
		{"attempts", e.Reserved(envelope.AttrDeadLetterAttempts)},
		{"redrives", strconv.Itoa(e.Redrive)},
		{"first attempt", e.Reserved(envelope.AttrDeadLetterFirst)},
		{"last attempt", e.Reserved(envelope.AttrDeadLetterLast)},
		{"on host", e.Reserved(envelope.AttrDeadLetterHost)},
		{"fingerprint", one.fingerprint},
		{"read from", strings.TrimSpace(e.Reserved(envelope.AttrDeadLetterTopic) + " " + e.Reserved(envelope.AttrDeadLetterPosition))},
		{"kept in", strings.TrimSpace(one.Topic + " " + m.Position)},
		{"type", m.Type},
		{"id", m.ID},
		{"source", m.Source},
		{"key", m.Key},
		{"subject", m.Subject},
		{"time", stampText(e.Time)},
		{"expires", stampText(e.Expires)},
		{"idempotency key", m.Idempotency},
		{"correlation", m.Correlation},
		{"causation", m.Causation},
		{"reply to", e.ReplyTo},
		{"hops", strconv.Itoa(e.Hops)},
		{"traceparent", e.TraceParent},
		{"tracestate", e.TraceState},
		{"content type", m.ContentType},
		{"schema", e.DataSchema},
	}
	for _, name := range slices.Sorted(maps.Keys(e.Extensions)) {
		if !strings.HasPrefix(name, "dl") || name == envelope.AttrDeadLetterHeaders {
			rows = append(rows, []string{name, e.Extensions[name]})
		}
	}
	rows = slices.DeleteFunc(rows, func(row []string) bool { return row[1] == "" })
	for _, row := range rows {
		row[0], row[1] = harmless(row[0], ""), harmless(row[1], "")
	}
	columns(out, rows)
	fmt.Fprintf(out, "error\n%s\npayload, %d B\n%s\n",
		indented(harmless(e.Reserved(envelope.AttrDeadLetterError), "\n\t")), len(e.Data), indented(m.text))
	return nil
}

func stampText(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339Nano)
}
