package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// deadAction is one call of dead redrive or dead drop: letters leave their topic,
// in batches, each after what has to be done with it is confirmed.
type deadAction struct {
	deads

	redrive                            bool
	all, dryRun, newKey, expired, edit bool
	rate, data                         string
	isData, asJSON                     bool

	edited  []byte // in place of the body; nil: it stays
	inboxes map[string]error
	pace    *pace
	shown   *progress

	done, repeats int
	sent          map[string]int // redriven letters by inbox
	kept          map[string]int // letters that stay, by reason
	leaving       chan error     // the removal that is on its way
}

func deadRedriveCommand() *cobra.Command {
	a := deadAction{redrive: true}
	cmd := &cobra.Command{
		Use:        "redrive [ID...]",
		SuggestFor: []string{"retry", "replay", "requeue", "resend"},
		Short:      "Send dead letters back to the agents whose they are",
		Long: `Sends dead letters to the inbox of the agent that gave them up: no other reader of
the original topic gets them again. The message is the original, id and source
included; its attribute redrive counts how often that was done, and opens its
idempotency record again. Each letter leaves the dead-letter topic after the broker
has confirmed its message.

Name letters by ID or choose them by flags; --all takes every one. An interrupted
redrive goes on when it is called again: with a store, nothing is handled twice.
Letters that cannot be sent stay, and the exit code is 1.

--data and --edit send one letter with another payload, which gets an idempotency
key of its own; --new-key gives one to messages that are otherwise unchanged.`,
		Example: `  anywire dead redrive --agent researcher --reason timeout --rate 100/s
  anywire dead redrive --all --dry-run
  anywire dead redrive k3vq7x2m4t6a --data '{"topic":"rivers"}'
  anywire dead redrive k3vq7x2m4t6a --edit`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.isData = cmd.Flags().Changed("data")
			return a.run(cmd, args)
		},
	}
	a.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&a.newKey, "new-key", false, "give each message a new idempotency key")
	f.BoolVar(&a.expired, "expired", false, "send messages whose time is over as well, without their expirytime")
	f.BoolVar(&a.edit, "edit", false, "change the payload of one letter in $EDITOR")
	f.StringVar(&a.data, "data", "", "send one letter with the payload `TEXT`, or with that of a file: @FILE")
	f.StringVar(&a.rate, "rate", "", "send at most so many, such as `100/s`")
	return cmd
}

func deadDropCommand() *cobra.Command {
	var a deadAction
	cmd := &cobra.Command{
		Use:        "drop [ID...]",
		SuggestFor: []string{"delete", "remove", "purge", "rm"},
		Short:      "Throw dead letters away",
		Long: `Removes dead letters for good: those that are named by ID or chosen by flags; --all
takes every one. anywire dead export keeps them as a file before.

A broker that keeps a log does not remove single messages: there the letters are
noted as removed, and go with the retention of their topic.`,
		Example: `  anywire dead drop k3vq7x2m4t6a
  anywire dead drop --agent researcher --older 30d --dry-run`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              a.run,
	}
	a.flags(cmd)
	return cmd
}

func (a *deadAction) flags(cmd *cobra.Command) {
	a.deads.flags(cmd)
	cmd.Flags().BoolVar(&a.all, "all", false, "every letter")
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "say what would be done, and do nothing")
	jsonFlag(cmd, &a.asJSON)
}

func (a *deadAction) run(cmd *cobra.Command, ids []string) error {
	a.cmd = cmd
	if !a.all && len(ids) == 0 && !a.isChosen() {
		return a.misuse(errors.New("say which letters: by ID, by flags such as --agent, or --all"))
	}
	if a.all && len(ids) > 0 {
		return a.misuse(errors.New("--all and an ID exclude each other"))
	}
	rate, err := value.ParseRate(orZero(a.rate))
	if err != nil {
		return a.misuse(fmt.Errorf("--rate: %w", err))
	}
	if err := a.begin(cmd, ids); err != nil {
		return err
	}
	ctx := cmd.Context()
	if err := a.resolve(ctx); err != nil {
		return err
	}
	if a.edit || a.isData {
		if err := a.rewrite(ctx); err != nil {
			return err
		}
	}
	a.pace, a.shown = newPace(float64(rate)), newProgress(cmd.ErrOrStderr(), !a.dryRun)
	a.inboxes, a.sent, a.kept = map[string]error{}, map[string]int{}, map[string]int{}
	err = a.visit(ctx, a.work)
	a.shown.end()
	return a.end(err)
}

func orZero(rate string) string {
	if rate == "" {
		return "0"
	}
	return rate
}

// resolve has each given id name exactly one letter.
func (d *deads) resolve(ctx context.Context) error {
	if len(d.ids) == 0 {
		return nil
	}
	found := map[string][]string{}
	err := d.visit(ctx, func(ctx context.Context, b *box) error {
		return b.each(ctx, false, func(l *letter) (bool, error) {
			for _, id := range d.ids {
				if l.isNamed(id) && !slices.Contains(found[id], l.id) && len(found[id]) < 2 {
					found[id] = append(found[id], l.id)
				}
			}
			return true, nil
		})
	})
	if err != nil {
		return err
	}
	for i, id := range d.ids {
		switch len(found[id]) {
		case 0:
			return &failure{fmt.Errorf("there is no dead letter %q: anywire dead list shows those that there are", id)}
		case 1:
			d.ids[i] = found[id][0]
		default:
			return &failure{fmt.Errorf("%q names several dead letters, %s and %s among them: give more of the id",
				id, found[id][0], found[id][1])}
		}
	}
	return nil
}

// theOne finds the only letter that is asked for.
func (d *deads) theOne(ctx context.Context) (one *letter, err error) {
	if err := d.resolve(ctx); err != nil {
		return nil, err
	}
	err = d.visit(ctx, func(ctx context.Context, b *box) error {
		return b.each(ctx, false, func(l *letter) (bool, error) {
			one = l
			return false, nil
		})
	})
	if err == nil && one == nil {
		err = &failure{fmt.Errorf("dead letter %s was removed meanwhile", d.ids[0])}
	}
	return one, err
}

// rewrite reads another payload for the one letter.
func (a *deadAction) rewrite(ctx context.Context) error {
	if len(a.ids) != 1 || a.edit && a.isData {
		return a.misuse(errors.New("--edit, or --data, changes one letter: give its ID, and one of the two flags"))
	}
	one, err := a.theOne(ctx)
	if err != nil {
		return err
	}
	switch {
	case a.edit:
		a.edited, err = editedBody(ctx, a.cmd, one)
	case strings.HasPrefix(a.data, "@"):
		a.edited, err = os.ReadFile(a.data[1:])
	default:
		a.edited = []byte(a.data)
	}
	if err == nil && !one.isRaw() && isJSONType(one.Envelope.ContentType) {
		err = mustBeJSON(a.edited, true)
	}
	if err != nil {
		return &failure{err}
	}
	return nil
}

// mostBytes bounds the payloads of a batch.
const mostBytes = 4 << 20

// work goes through one topic.
func (a *deadAction) work(ctx context.Context, b *box) error {
	// What is on its way when ctx ends is waited for.
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(leaveTimeout, cancel) })
	defer stop()
	var batch []*letter
	size := 0
	err := b.each(ctx, false, func(l *letter) (bool, error) {
		batch, size = append(batch, l), size+len(l.Envelope.Data)
		if len(batch) < a.pace.most() && size < mostBytes {
			return true, nil
		}
		err := a.flush(ctx, sending, b, batch)
		batch, size = nil, 0 // the removal may still read the last one
		return err == nil, err
	})
	if err == nil {
		err = a.flush(ctx, sending, b, batch)
	}
	return errors.Join(err, a.removed())
}

// flush does with a batch what is to be done, and has what is confirmed removed
// while the next is made ready.
func (a *deadAction) flush(ctx, sending context.Context, b *box, batch []*letter) error {
	if len(batch) == 0 {
		return nil
	}
	gone, err := a.confirmed(sending, b, batch)
	if removed := a.removed(); removed != nil {
		return errors.Join(removed, err)
	}
	if len(gone) > 0 && !a.dryRun {
		leaving := make(chan error, 1)
		a.leaving = leaving
		go func() { leaving <- b.remove(sending, gone) }()
	}
	a.shown.showDone(a.done, a.past())
	if err != nil {
		return err
	}
	return a.pace.wait(ctx, len(batch))
}

// removed waits for the removal that is on its way.
func (a *deadAction) removed() error {
	if a.leaving == nil {
		return nil
	}
	err := <-a.leaving
	a.leaving = nil
	if err != nil {
		err = fmt.Errorf("what was %s could not be removed, and will be %[1]s again by the next call: %w", a.past(), err)
	}
	return err
}

// confirmed are those of a batch that may leave the topic.
func (a *deadAction) confirmed(ctx context.Context, b *box, batch []*letter) ([]*letter, error) {
	var gone []*letter
	var sendable []*letter
	for _, l := range batch {
		switch {
		case l.repeats && !a.dryRun:
			a.repeats++
			gone = append(gone, l)
		case l.repeats:
			a.repeats++
		case !a.redrive:
			gone = append(gone, l)
		default:
			if reason := a.unfit(ctx, b, l); reason != "" {
				a.kept[reason]++
				continue
			}
			sendable = append(sendable, l)
		}
	}
	if !a.redrive {
		return gone, a.tell(gone)
	}
	sent := sendable
	var err error
	if !a.dryRun {
		sent, err = a.send(ctx, b, sendable)
	}
	return append(gone, sent...), errors.Join(err, a.tell(sent))
}

// unfit is why a letter cannot be sent.
func (a *deadAction) unfit(ctx context.Context, b *box, l *letter) string {
	if !a.system.hasAgent(l.agent) {
		return fmt.Sprintf("agent %q is not in the configuration", l.agent)
	}
	err, known := a.inboxes[l.agent]
	if !known {
		err = a.system.mustHaveInbox(ctx, b.broker, l.agent)
		a.inboxes[l.agent] = err
	}
	if err != nil {
		return err.Error()
	}
	if l.isRaw() {
		if _, err := l.rawOriginal(); err != nil {
			return err.Error()
		}
		return ""
	}
	if e := l.Envelope; !a.expired && !e.Expires.IsZero() && e.Expires.Before(time.Now()) {
		return "the message is over its expirytime, so its agent would not handle it: --expired sends it without"
	}
	if err := a.revived(l).Validate(); err != nil {
		return err.Error()
	}
	return ""
}

// revived is the message as it is sent.
func (a *deadAction) revived(l *letter) *envelope.Envelope {
	e := l.revived(a.newKey)
	if a.edited != nil {
		e.Data, e.IdempotencyKey = a.edited, l.newKey(a.edited)
	}
	if a.expired && !e.Expires.IsZero() && e.Expires.Before(time.Now()) {
		e.Expires = time.Time{}
	}
	return e
}

// send publishes to the inboxes, and returns what they have.
func (a *deadAction) send(ctx context.Context, b *box, letters []*letter) ([]*letter, error) {
	byInbox := map[string][]*letter{}
	for _, l := range letters {
		byInbox[inboxOf(l.agent)] = append(byInbox[inboxOf(l.agent)], l)
	}
	var sent []*letter
	var errs []error
	for _, inbox := range slices.Sorted(maps.Keys(byInbox)) {
		for _, raw := range []bool{false, true} {
			some := slices.DeleteFunc(slices.Clone(byInbox[inbox]), func(l *letter) bool { return l.isRaw() != raw })
			if len(some) == 0 {
				continue
			}
			has, err := a.sendTo(ctx, b, inbox, some, raw)
			sent, errs = append(sent, has...), append(errs, err)
		}
	}
	return sent, errors.Join(errs...)
}

// sendTo publishes to one inbox. Messages that it can never take stay where they
// are; any other error ends the redrive.
func (a *deadAction) sendTo(ctx context.Context, b *box, inbox string, letters []*letter, raw bool) ([]*letter, error) {
	var err error
	switch {
	case raw:
		err = a.sendRaw(ctx, b, inbox, letters)
	case a.newKey || a.edited != nil: // another message for the broker, too
		msgs := make([]*driver.Message, len(letters))
		for i, l := range letters {
			e := a.revived(l)
			msgs[i] = encoded(b.broker, e, e.IdempotencyKey)
		}
		err = b.broker.PublishRaw(ctx, inbox, msgs...)
	default:
		es := make([]*envelope.Envelope, len(letters))
		for i, l := range letters {
			es[i] = a.revived(l)
		}
		err = b.broker.Publish(ctx, inbox, es...)
	}
	if err == nil {
		return letters, nil
	}
	var failed driver.BatchError
	if len(letters) == 1 {
		failed = driver.BatchError{0: err}
	} else if !errors.As(err, &failed) {
		return nil, err
	}
	var sent []*letter
	var fatal error
	for i, l := range letters {
		switch err := failed[i]; {
		case err == nil:
			sent = append(sent, l)
		case errors.Is(err, envelope.TooLarge), errors.Is(err, driver.ErrTooLarge), errors.Is(err, envelope.Invalid):
			a.kept[err.Error()]++
		case errors.Is(err, envelope.NotAttempted):
			a.kept["an earlier message of its key stays"]++
		case fatal == nil:
			fatal = err
		}
	}
	return sent, fatal
}

func (a *deadAction) sendRaw(ctx context.Context, b *box, inbox string, letters []*letter) error {
	msgs := make([]*driver.Message, len(letters))
	for i, l := range letters {
		m, err := l.rawOriginal()
		if err != nil {
			return err
		}
		if a.edited != nil {
			m.Body, m.DedupID = a.edited, l.newKey(a.edited)
		}
		msgs[i] = m
	}
	return b.broker.PublishRaw(ctx, inbox, msgs...)
}

// deadDone is what dead redrive --json and dead drop --json print of a letter.
type deadDone struct {
	Letter string `json:"letter"`
	Action string `json:"action"`
	DryRun bool   `json:"dry_run,omitempty"`
	Agent  string `json:"agent"`
	ID     string `json:"id"`
	Type   string `json:"type"`
	Inbox  string `json:"inbox,omitempty"`
	Key    string `json:"idempotency_key,omitempty"`
}

// tell counts letters, and prints them where that was asked for.
func (a *deadAction) tell(letters []*letter) error {
	for _, l := range letters {
		if l.repeats {
			continue
		}
		a.done++
		line := deadDone{Letter: l.id, Action: "drop", DryRun: a.dryRun, Agent: l.agent, ID: l.Envelope.ID, Type: l.Envelope.WireType()}
		if a.redrive {
			line.Action, line.Inbox = "redrive", inboxOf(l.agent)
			if a.newKey || a.edited != nil {
				line.Key = a.revived(l).IdempotencyKey
			}
			a.sent[line.Inbox]++
		}
		var err error
		switch {
		case a.asJSON:
			err = writeLine(a.cmd.OutOrStdout(), line)
		case a.dryRun:
			_, err = fmt.Fprintf(a.cmd.OutOrStdout(), "would %s  %s\n", line.Action, l.line(painterFor(a.cmd.OutOrStdout())))
		}
		if err != nil {
			return &failure{err}
		}
	}
	return nil
}

func (a *deadAction) past() string {
	if a.redrive {
		return "redriven"
	}
	return "dropped"
}

// end says how far it came.
func (a *deadAction) end(err error) error {
	would := ""
	if a.dryRun {
		would = "would be "
	}
	text := would + a.past() + ": " + count(a.done, "letter")
	var to []string
	for _, inbox := range slices.Sorted(maps.Keys(a.sent)) {
		to = append(to, fmt.Sprintf("%d to %s", a.sent[inbox], inbox))
	}
	if len(to) > 0 {
		text += ", " + strings.Join(to, ", ")
	}
	if a.repeats > 0 {
		text += fmt.Sprintf(" (%s of them %sremoved with them)", count(a.repeats, "repeat"), would)
	}
	errs := a.cmd.ErrOrStderr()
	fmt.Fprintln(errs, text)
	kept := 0
	for _, reason := range slices.Sorted(maps.Keys(a.kept)) {
		kept += a.kept[reason]
		fmt.Fprintf(errs, "kept: %s: %s\n", count(a.kept[reason], "letter"), reason)
	}
	switch {
	case err != nil:
		return err
	case kept > 0:
		return &failure{&shownError{fmt.Errorf("%s stay", count(kept, "letter"))}}
	}
	return nil
}

// mustHaveInbox is an error where nobody would read what is sent to an agent.
func (s *system) mustHaveInbox(ctx context.Context, broker *transport.Transport, agent string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, reachTimeout, fmt.Errorf("no answer within %v", reachTimeout))
	defer cancel()
	a, _ := s.Agent(agent)
	inbox := inboxOf(agent)
	_, err := lookUp(ctx, broker, inbox)
	if errors.Is(err, driver.ErrNotFound) {
		return fmt.Errorf("agent %q has no inbox: topic %s does not exist on transport %q; it is made when the agent first runs there",
			agent, inbox, broker.Name())
	}
	if err != nil {
		return err
	}
	missing := fmt.Errorf("group %q of agent %q does not read %s: run the agent once, or give it the group back that it had",
		a.Group, agent, inbox)
	_, err = broker.Lag(ctx, inbox, a.Group)
	if errors.Is(err, driver.ErrNotFound) {
		return missing
	}
	if err != nil || !broker.Capabilities().DelaysByCopy {
		return err
	}
	// A broker that counts a lag for every name tells in an inspection.
	inspector, ok := broker.Driver().(driver.Inspector)
	if !ok {
		return nil
	}
	prefix := s.Transports[broker.Name()].Prefix
	findings, err := inspector.Inspect(ctx, driver.Use{Reads: []driver.Reading{{Topic: prefix + inbox, Group: prefix + a.Group}}})
	if err != nil {
		return err
	}
	if s.isNew(ctx, broker, inbox, a.Group, findings) {
		return missing
	}
	return nil
}
