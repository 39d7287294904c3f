package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

func topicsCommand() *cobra.Command {
	var f files
	var on string
	var asJSON bool
	cmd := &cobra.Command{
		Use:        "topics",
		SuggestFor: []string{"streams", "queues", "ls", "list"},
		Short:      "List the topics of each transport, and who reads and writes them",
		Long: `Lists the topics that the configuration names, those of the same system that the
broker has beside them, and what the broker says of each: whether it exists, its
shards, how long it keeps messages. Nothing is made.

Exits with 1 when a broker cannot be asked.`,
		Example:           "  anywire topics\n  anywire topics --transport nats --json",
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := f.system(cmd)
			if err != nil {
				return err
			}
			names, err := s.chosen(on)
			if err != nil {
				return &usageError{of: cmd, error: err}
			}
			return showTopics(cmd, s.describeTopics(cmd.Context(), names), asJSON)
		},
	}
	f.flag(cmd)
	cmd.Flags().StringVar(&on, "transport", "", "only those of the transport `NAME` (default: of all that are used)")
	jsonFlag(cmd, &asJSON)
	completeTransports(cmd, &f)
	return cmd
}

// topicList is what topics --json prints of a transport.
type topicList struct {
	Transport string         `json:"transport"`
	Kind      string         `json:"kind"`
	Error     string         `json:"error,omitempty"` // why the broker was not asked
	Local     bool           `json:"in_process,omitempty"`
	Topics    []topicSummary `json:"topics"`

	err error
}

type topicSummary struct {
	Name           string   `json:"name"`
	Exists         *bool    `json:"exists"` // null: not known
	Shards         int      `json:"shards,omitempty"`
	RetentionAge   string   `json:"retention_age,omitempty"` // ever: without bound
	RetentionBytes int64    `json:"retention_bytes,omitempty"`
	Replicas       int      `json:"replicas,omitempty"`
	ConsumedBy     []string `json:"consumed_by"`
	ProducedBy     []string `json:"produced_by"`
	DeadLettersOf  []string `json:"dead_letters_of"`
	InboxOf        string   `json:"inbox_of,omitempty"` // the agent whose retries come back through it
	Delays         bool     `json:"delays,omitempty"`   // delayed messages of the system wait here
	Configured     bool     `json:"configured"`
	Error          string   `json:"error,omitempty"`
}

// describeTopics asks every transport at the same time.
func (s *system) describeTopics(ctx context.Context, names []string) []*topicList {
	lists := make([]*topicList, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		kind, _ := s.Kind(name)
		lists[i] = &topicList{Transport: name, Kind: kind, Local: s.isLocal(name), Topics: []topicSummary{}}
		all.Go(func() { s.describe(ctx, lists[i]) })
	}
	all.Wait()
	return lists
}

func (s *system) describe(ctx context.Context, list *topicList) {
	for _, t := range s.topics() {
		if t.transport == list.Transport {
			list.Topics = append(list.Topics, topicSummary{
				Name: t.name, Configured: true,
				ConsumedBy: orEmpty(t.consumedBy), ProducedBy: orEmpty(t.producedBy), DeadLettersOf: orEmpty(t.deadLettersOf),
			})
		}
	}
	if list.Local {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, reachTimeout, fmt.Errorf("no answer within %v", reachTimeout))
	defer cancel()
	broker, err := s.open(ctx, list.Transport, false)
	if err == nil {
		defer leave(ctx, broker)
		err = s.ask(ctx, broker, list)
	}
	switch {
	case errors.Is(err, errNoFolder):
		for i := range list.Topics {
			list.Topics[i].Exists = new(false)
		}
	case err != nil:
		list.err, list.Error = err, messageText(err)
	}
}

// messageText is an error for JSON: one line, where it is a problem with its place.
func messageText(err error) string {
	if at, ok := errors.AsType[*brokerError](err); ok && at.File != "" {
		return fmt.Sprintf("%s:%d:%d: %s: %s", at.File, at.Line, at.Column, at.Path, at.Message)
	}
	return err.Error()
}

// reasonOf is what is wrong, without the place.
func reasonOf(err error) string {
	if at, ok := errors.AsType[*brokerError](err); ok {
		return at.Message
	}
	return err.Error()
}

func orEmpty(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}

// ask fills in what the broker has, and adds what else is there.
func (s *system) ask(ctx context.Context, broker *transport.Transport, list *topicList) error {
	for i := range list.Topics {
		t := &list.Topics[i]
		has, err := lookUp(ctx, broker, t.Name)
		switch {
		case err == nil:
			t.fill(has)
		case errors.Is(err, driver.ErrNotFound):
			t.Exists = new(bool)
		case ctx.Err() != nil:
			return err
		default:
			t.Error = err.Error()
		}
	}
	admin, ok := broker.Driver().(driver.Admin)
	if !ok {
		return nil
	}
	others, err := admin.Topics(ctx)
	if err != nil {
		return err
	}
	prefix := s.Transports[list.Transport].Prefix
	for _, has := range others {
		name, ours := strings.CutPrefix(has.Name, prefix)
		if !ours || list.has(name) {
			continue
		}
		t := topicSummary{
			Name: name, ConsumedBy: []string{}, ProducedBy: []string{}, DeadLettersOf: []string{},
			InboxOf: s.inboxAt(list.Transport, name), Delays: strings.HasPrefix(name, s.System()+".delay."),
		}
		t.fill(has)
		list.Topics = append(list.Topics, t)
	}
	return nil
}

// inboxAt is the agent that has a topic of a transport as its inbox.
func (s *system) inboxAt(on, topic string) string {
	for name := range s.Agents {
		if a, _ := s.Agent(name); a.Transport == on && inboxOf(name) == topic {
			return name
		}
	}
	return ""
}

func (l *topicList) has(name string) bool {
	for i := range l.Topics {
		if l.Topics[i].Name == name {
			return true
		}
	}
	return false
}

func (t *topicSummary) fill(has driver.Topic) {
	t.Exists = new(true)
	t.Shards, t.RetentionBytes, t.Replicas = has.Shards, max(has.RetentionBytes, 0), has.Replicas
	switch {
	case has.RetentionAge < 0:
		t.RetentionAge = "ever"
	case has.RetentionAge > 0:
		t.RetentionAge = value.Duration(has.RetentionAge).String()
	}
}

func showTopics(cmd *cobra.Command, lists []*topicList, asJSON bool) error {
	failed := 0
	for _, l := range lists {
		if l.err != nil {
			failed++
			if !asJSON {
				report(cmd.ErrOrStderr(), l.err)
			}
		}
	}
	if asJSON {
		if err := writeJSON(cmd.OutOrStdout(), map[string]any{"transports": lists}); err != nil {
			return err
		}
	} else {
		columns(cmd.OutOrStdout(), topicRows(lists))
	}
	if failed > 0 {
		return &failure{&shownError{fmt.Errorf("%s could not be asked", count(failed, "transport"))}}
	}
	return nil
}

func topicRows(lists []*topicList) [][]string {
	rows := [][]string{{"TRANSPORT", "TOPIC", "EXISTS", "SHARDS", "RETENTION", "PRODUCED BY", "CONSUMED BY"}}
	for _, l := range lists {
		for i := range l.Topics {
			t := &l.Topics[i]
			rows = append(rows, []string{
				l.Transport, t.Name, t.existence(l.Local), orDash(number(t.Shards)), orDash(t.retention()), t.producers(), t.consumers(),
			})
		}
	}
	return rows
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func (t *topicSummary) existence(local bool) string {
	switch {
	case local:
		return "in the process"
	case t.Error != "":
		return "error: " + t.Error
	case t.Exists == nil:
		return "?"
	case !*t.Exists:
		return "not yet"
	}
	return "yes"
}

func (t *topicSummary) retention() string {
	parts := []string{}
	if t.RetentionAge != "" {
		parts = append(parts, t.RetentionAge)
	}
	if t.RetentionBytes > 0 {
		parts = append(parts, value.Size(t.RetentionBytes).String())
	}
	return strings.Join(parts, ", ")
}

func (t *topicSummary) producers() string {
	names := slices.Clone(t.ProducedBy)
	for _, agent := range t.DeadLettersOf {
		names = append(names, agent+" (dead letters)")
	}
	if t.InboxOf != "" {
		names = append(names, t.InboxOf+" (retries)")
	}
	return orDash(strings.Join(names, ", "))
}

func (t *topicSummary) consumers() string {
	switch {
	case t.InboxOf != "":
		return t.InboxOf + " (inbox)"
	case t.Delays:
		return "all agents (delays)"
	case !t.Configured:
		return "- (not in the configuration)"
	}
	return orDash(strings.Join(t.ConsumedBy, ", "))
}
