package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// publishing is one call of publish.
type publishing struct {
	files files
	on    string // the transport; empty: where the topic lives

	typeName, key, idempotencyKey, contentType string
	extensions                                 []string
	delay                                      time.Duration

	data, file    string
	isData, lines bool
	create        bool
	rate          float64
	asJSON, quiet bool

	topic string
	cmd   *cobra.Command
	t     *transport.Transport
	count int // messages that the broker has
}

func publishCommand() *cobra.Command {
	var p publishing
	cmd := &cobra.Command{
		Use:        "publish TOPIC",
		SuggestFor: []string{"send", "emit", "produce", "pub"},
		Short:      "Send messages to a topic, where the configuration says it lives",
		Long: `Sends a message to TOPIC: the text of --data, a file, or what comes on standard
input. With --lines every line is a message of its own, sent as it comes; empty
lines are passed over. Prints the id of each message once the broker has it.

--type is what handlers are chosen by; a topic with plain: has one already. A
payload is JSON unless --content-type says otherwise, and is checked before it is
sent.

Ctrl-C waits for what is on its way, and says how many messages were sent. A
topic that neither the configuration nor the broker knows is refused, unless
--create is given.`,
		Example: `  anywire publish tasks.research --type research.task@1 --data '{"topic":"rivers"}'
  anywire publish tasks.research --type research.task@1 --key rivers --file task.json
  anywire publish tasks.research --type research.task@1 --lines --rate 50 < tasks.jsonl`,
		Args:              needArgument("TOPIC", "topic of the configuration"),
		ValidArgsFunction: p.files.completeTopic,
		RunE: func(cmd *cobra.Command, args []string) error {
			p.cmd, p.topic = cmd, args[0]
			p.isData = cmd.Flags().Changed("data")
			return p.run(cmd.Context())
		},
	}
	p.flags(cmd)
	return cmd
}

func (p *publishing) flags(cmd *cobra.Command) {
	p.files.flag(cmd)
	f := cmd.Flags()
	f.StringVar(&p.typeName, "type", "", "type of the messages: `NAME@VERSION`")
	f.StringVar(&p.key, "key", "", "`KEY` that orders and partitions")
	f.StringVar(&p.idempotencyKey, "idempotency-key", "", "`KEY` of what may take effect only once")
	f.StringArrayVar(&p.extensions, "ext", nil, "attribute of your own: `NAME=VALUE`; may be repeated")
	f.StringVar(&p.contentType, "content-type", "application/json", "media `TYPE` of the payload")
	f.DurationVar(&p.delay, "delay", 0, "deliver no earlier than so long from now, such as 90s, where the transport can")
	f.StringVar(&p.data, "data", "", "the payload `TEXT`")
	f.StringVar(&p.file, "file", "", "read the payload from `FILE` (default standard input)")
	f.BoolVar(&p.lines, "lines", false, "every line is a message")
	f.Float64Var(&p.rate, "rate", 0, "send at most `N` messages per second")
	f.StringVar(&p.on, "transport", "", "send on the transport `NAME` (default where the topic lives)")
	f.BoolVar(&p.create, "create", false, "make the topic, though nobody knows it")
	f.BoolVarP(&p.quiet, "quiet", "q", false, "print no ids")
	jsonFlag(cmd, &p.asJSON)
	completeTransports(cmd, &p.files)
}

func (p *publishing) run(ctx context.Context) error {
	if p.typeName != "" {
		if err := p.check(); err != nil {
			return &usageError{of: p.cmd, error: err}
		}
	}
	s, err := p.files.system(p.cmd)
	if err != nil {
		return err
	}
	p.typeName = cmp.Or(p.typeName, s.Topics[p.topic].Plain)
	if err := p.check(); err != nil {
		return &usageError{of: p.cmd, error: err}
	}
	spec, err := p.place(s)
	if err != nil {
		return err
	}
	in, err := p.open(int(s.Limits.Body))
	if err != nil {
		return err
	}
	defer in.close()
	if p.t, err = s.open(ctx, p.on, true); err != nil {
		return err
	}
	defer leave(ctx, p.t)
	if err := p.prepare(ctx, s, spec); err != nil {
		return err
	}
	return p.send(ctx, in)
}

// check refuses flags that make no sense.
func (p *publishing) check() error {
	switch {
	case p.typeName == "":
		return errors.New("--type is missing: name the type of the messages, such as --type research.task@1; handlers are chosen by it")
	case p.isData && p.file != "":
		return errors.New("--data and --file are both the payload: give one")
	case p.rate < 0:
		return fmt.Errorf("--rate %v is negative", p.rate)
	}
	if err := config.CheckTopic(p.topic); err != nil {
		return err
	}
	_, err := p.envelope([]byte("{}"))
	return err
}

func (p *publishing) envelope(body []byte) (*envelope.Envelope, error) {
	options := []envelope.Option{
		envelope.WithKey(p.key), envelope.WithIdempotencyKey(p.idempotencyKey), envelope.WithDelay(p.delay),
	}
	for _, x := range p.extensions {
		name, text, ok := strings.Cut(x, "=")
		if !ok {
			return nil, fmt.Errorf("--ext %q: write NAME=VALUE", x)
		}
		options = append(options, envelope.WithExtension(name, text))
	}
	return envelope.New(envelope.Raw{Type: p.typeName, ContentType: p.contentType, Data: body}, options...)
}

// place finds the transport, and what the topic is to be.
func (p *publishing) place(s *system) (driver.Topic, error) {
	spec := driver.Topic{Name: p.topic, Require: !p.create}
	for _, t := range s.topics() {
		if t.name == p.topic {
			spec = s.specOf(t)
			if p.on == "" {
				p.on = t.transport
			}
		}
	}
	if p.on == "" {
		p.on = s.DefaultTransport()
	}
	if err := s.mustHave(p.on); err != nil {
		return spec, &usageError{of: p.cmd, error: err}
	}
	return spec, nil
}

// prepare makes the topic as the agents would.
func (p *publishing) prepare(ctx context.Context, s *system, spec driver.Topic) error {
	ctx, cancel := context.WithTimeoutCause(ctx, reachTimeout, fmt.Errorf("no answer within %v", reachTimeout))
	defer cancel()
	_, err := p.t.EnsureTopic(ctx, spec)
	if errors.Is(err, driver.ErrNotFound) && !s.Topics[p.topic].Require {
		return &failure{s.unknownTopic(p.topic, p.on, "; --create makes it")}
	}
	if err != nil {
		return &failure{err}
	}
	return nil
}

// unknownTopic says which topics there are.
func (s *system) unknownTopic(topic, on, more string) error {
	names := s.topicNames()
	if slices.Contains(names, topic) {
		return fmt.Errorf("topic %q does not exist on transport %q yet: it is made when an agent first runs, or by anywire publish", topic, on)
	}
	known := "the configuration names no topics"
	if len(names) > 0 {
		known = "the configuration names " + strings.Join(names[:min(len(names), 12)], ", ")
	}
	return fmt.Errorf("there is no topic %q on transport %q: %s%s%s", topic, on, known, maybe(topic, names), more)
}

// mostTogether is how many messages are sent with one call.
const mostTogether = 256

// send publishes what comes until there is no more, something is wrong, or ctx
// ends.
func (p *publishing) send(ctx context.Context, in *payloads) error {
	// What is on its way when ctx ends is waited for.
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(leaveTimeout, cancel) })
	defer stop()
	pace := newPace(p.rate)
	progress := newProgress(p.cmd.ErrOrStderr(), p.lines)
	defer progress.end()
	for {
		batch, err := in.next(ctx, pace.most())
		if failed := p.publish(sending, batch); failed != nil {
			return p.stopped(failed)
		}
		progress.show(p.count)
		switch {
		case errors.Is(err, io.EOF):
			progress.end()
			p.summary()
			return nil
		case err != nil:
			return p.stopped(err)
		}
		if err := pace.wait(ctx, len(batch)); err != nil {
			return p.stopped(err)
		}
	}
}

// stopped says how far it came.
func (p *publishing) stopped(err error) error {
	if errors.Is(err, context.Canceled) {
		err = errInterrupted
	}
	if p.lines || p.count > 0 {
		err = fmt.Errorf("%w; %s published", err, counted(p.count))
	}
	return &failure{err}
}

func counted(n int) string {
	if n == 1 {
		return "1 message was"
	}
	return fmt.Sprintf("%d messages were", n)
}

// publish sends a batch and prints the ids of what the broker has.
func (p *publishing) publish(ctx context.Context, batch []payload) error {
	if len(batch) == 0 {
		return nil
	}
	envelopes := make([]*envelope.Envelope, 0, len(batch))
	for _, b := range batch {
		e, err := p.envelope(b.body)
		if err != nil {
			return b.fault(err)
		}
		envelopes = append(envelopes, e)
	}
	err := p.t.Publish(ctx, p.topic, envelopes...)
	var some driver.BatchError
	if err != nil && (!errors.As(err, &some) || len(envelopes) == 1) {
		some = driver.BatchError{}
		for i := range envelopes {
			some[i] = err
		}
	}
	var first error
	for i, e := range envelopes {
		if failed := some[i]; failed != nil {
			if first == nil {
				first = batch[i].fault(failed)
			}
			continue
		}
		p.count++
		if err := p.print(e, batch[i].line); err != nil {
			return err
		}
	}
	return first
}

// sent is what publish --json prints of a message.
type sent struct {
	ID        string `json:"id"`
	Topic     string `json:"topic"`
	Transport string `json:"transport"`
	Type      string `json:"type"`
	Key       string `json:"key,omitempty"`
	Line      int    `json:"line,omitempty"` // of the input, with --lines
}

func (p *publishing) print(e *envelope.Envelope, line int) error {
	switch {
	case p.asJSON:
		return writeLine(p.cmd.OutOrStdout(), sent{e.ID, p.topic, p.on, e.WireType(), e.Key, line})
	case p.quiet:
		return nil
	}
	if _, err := fmt.Fprintln(p.cmd.OutOrStdout(), e.ID); err != nil {
		return &failure{err}
	}
	return nil
}

func (p *publishing) summary() {
	if p.lines {
		fmt.Fprintf(p.cmd.ErrOrStderr(), "published %s to %s on %s\n", count(p.count, "message"), p.topic, p.on)
	}
}

// mostBody is the largest payload that limits allow.
func mostBody(limit int) int {
	if limit > 0 {
		return limit
	}
	return envelope.DefaultBodyLimit
}

func tooLarge(where string, most int) error {
	return fmt.Errorf("%s is larger than limits.body, %v: raise that, or send a reference", where, value.Size(most))
}
