package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// fileLine is a letter in a file: everything that makes it the same again.
type fileLine struct {
	Topic string `json:"topic"`
	// Attributes are those of the message, dead letter's included, under their
	// CloudEvents names; what is no envelope has Raw instead.
	Attributes []rawHeader `json:"attributes,omitempty"`
	Raw        *rawMessage `json:"raw,omitempty"`
	Data       *string     `json:"data,omitempty"` // text; neither: there is no body
	Base64     *string     `json:"data_base64,omitempty"`
}

type rawMessage struct {
	Key     string      `json:"key,omitempty"`
	Headers []rawHeader `json:"headers"`
}

// fileBinding writes attributes under their own names.
func fileBinding() *envelope.Binding { return envelope.NewBinding("", "", false) }

func lineOf(binding *envelope.Binding, l *letter) *fileLine {
	line := &fileLine{Topic: l.Topic}
	body := l.Raw.Body
	if e := l.Envelope; e != nil {
		line.Attributes, body = rawHeaders(binding.Encode(nil, e)), e.Data
	} else {
		line.Raw = &rawMessage{Key: l.Raw.Key, Headers: rawHeaders(l.Raw.Headers)}
	}
	switch {
	case body == nil:
	case utf8.Valid(body):
		text := string(body)
		line.Data = &text
	default:
		text := base64.StdEncoding.EncodeToString(body)
		line.Base64 = &text
	}
	return line
}

func rawHeaders(headers []driver.Header) []rawHeader {
	list := make([]rawHeader, len(headers))
	for i, h := range headers {
		list[i].Name = h.Name
		if utf8.ValidString(h.Value) {
			list[i].Value = h.Value
		} else {
			list[i].Base64 = base64.StdEncoding.EncodeToString([]byte(h.Value))
		}
	}
	return list
}

// message is what a line stands for: an envelope, or what is none.
func (l *fileLine) message(binding *envelope.Binding) (*envelope.Envelope, *driver.Message, error) {
	var body []byte
	switch {
	case l.Data != nil:
		body = []byte(*l.Data)
	case l.Base64 != nil:
		var err error
		if body, err = base64.StdEncoding.DecodeString(*l.Base64); err != nil {
			return nil, nil, fmt.Errorf("data_base64: %w", err)
		}
	}
	headers := l.Attributes
	if l.Raw != nil {
		headers = l.Raw.Headers
	}
	var list []driver.Header
	for _, h := range headers {
		text, err := h.text()
		if err != nil {
			return nil, nil, fmt.Errorf("header %q: %w", h.Name, err)
		}
		list = append(list, driver.Header{Name: h.Name, Value: text})
	}
	if l.Raw != nil {
		return nil, &driver.Message{Key: l.Raw.Key, Headers: list, Body: body}, nil
	}
	var e envelope.Envelope
	if err := binding.Decode(list, body, &e); err != nil {
		return nil, nil, err
	}
	return &e, nil, nil
}

// deadExporting is one call of dead export.
type deadExporting struct {
	deads

	force bool
}

func deadExportCommand() *cobra.Command {
	var x deadExporting
	cmd := &cobra.Command{
		Use:   "export FILE",
		Short: "Write dead letters to a file, one JSON document per line",
		Long: `Writes dead letters to FILE, or to standard output where it is "-": every attribute
and the payload as it is, so that anywire dead import makes the same letters of it
again, on any transport. The letters stay where they are.`,
		Example:           "  anywire dead export letters.jsonl --agent researcher",
		Args:              needArgument("FILE", "file to write"),
		ValidArgsFunction: completeLetters,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := x.begin(cmd, nil); err != nil {
				return err
			}
			return x.run(cmd.Context(), args[0])
		},
	}
	x.flags(cmd)
	cmd.Flags().BoolVar(&x.force, "force", false, "replace FILE if it is there")
	return cmd
}

func (x *deadExporting) run(ctx context.Context, name string) error {
	if name == "-" {
		_, err := x.write(ctx, x.cmd.OutOrStdout())
		return err
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	part := name
	if x.force { // the old one stays until the new one is whole
		part += ".part"
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(part, flags, 0o600)
	if errors.Is(err, os.ErrExist) {
		return &failure{fmt.Errorf("%s is there already: --force replaces it", name)}
	}
	if err != nil {
		return &failure{err}
	}
	n, err := x.write(ctx, f)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil && part != name {
		err = os.Rename(part, name)
	}
	if err != nil {
		_ = os.Remove(part)
		return x.failed(ctx, err)
	}
	fmt.Fprintf(x.cmd.ErrOrStderr(), "exported %s to %s\n", count(n, "letter"), name)
	return nil
}

func (x *deadExporting) write(ctx context.Context, w io.Writer) (n int, err error) {
	buffered := bufio.NewWriter(w)
	encoder := json.NewEncoder(buffered)
	encoder.SetEscapeHTML(false)
	binding, shown := fileBinding(), newProgress(x.cmd.ErrOrStderr(), true)
	defer shown.end()
	err = x.visit(ctx, func(ctx context.Context, b *box) error {
		return b.each(ctx, true, func(l *letter) (bool, error) {
			if l.repeats {
				return true, nil
			}
			n++
			shown.showDone(n, "exported")
			return true, encoder.Encode(lineOf(binding, l))
		})
	})
	return n, errors.Join(err, buffered.Flush())
}

// completeLetters answers files of JSON lines.
func completeLetters(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"jsonl"}, cobra.ShellCompDirectiveFilterFileExt
}

// deadImporting is one call of dead import.
type deadImporting struct {
	deads

	topic string
	shown *progress
	done  int
}

func deadImportCommand() *cobra.Command {
	var m deadImporting
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Put dead letters of a file into a dead-letter topic",
		Long: `Puts the letters of FILE, as anywire dead export wrote it, or of standard input where
it is "-", into the dead-letter topic that they came from, or into that of --topic.
No agent is told: anywire dead redrive sends them on. A letter that is imported twice
is shown and redriven once.`,
		Example:           "  anywire dead import letters.jsonl --topic researcher.dead",
		Args:              needArgument("FILE", "file to read"),
		ValidArgsFunction: completeLetters,
		RunE: func(cmd *cobra.Command, args []string) error {
			m.cmd = cmd
			var err error
			if m.system, err = m.files.system(cmd); err != nil {
				return err
			}
			return m.run(cmd.Context(), args[0])
		},
	}
	m.files.flag(cmd)
	cmd.Flags().StringVar(&m.topic, "topic", "", "put all of them into the topic `NAME`")
	return cmd
}

func (m *deadImporting) run(ctx context.Context, name string) error {
	in := io.NopCloser(m.cmd.InOrStdin())
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return &failure{err}
		}
		in = f
	}
	defer func() { _ = in.Close() }()
	m.shown = newProgress(m.cmd.ErrOrStderr(), true)
	brokers := map[string]*transport.Transport{}
	defer func() {
		for _, t := range brokers {
			leave(ctx, t)
		}
	}()
	err := m.read(ctx, json.NewDecoder(bufio.NewReader(in)), brokers)
	m.shown.end()
	fmt.Fprintf(m.cmd.ErrOrStderr(), "imported %s\n", count(m.done, "letter"))
	if err != nil {
		return m.failed(ctx, err)
	}
	return nil
}

// importBatch are letters for one topic.
type importBatch struct {
	topic     string
	envelopes []*envelope.Envelope
	raw       []*driver.Message
	bytes     int
}

func (m *deadImporting) read(ctx context.Context, from *json.Decoder, brokers map[string]*transport.Transport) error {
	from.DisallowUnknownFields()
	binding := fileBinding()
	var batch importBatch
	for n := 1; ; n++ {
		var line fileLine
		err := from.Decode(&line)
		if errors.Is(err, io.EOF) {
			return m.put(ctx, &batch, brokers)
		}
		var e *envelope.Envelope
		var raw *driver.Message
		if err == nil {
			e, raw, err = line.message(binding)
		}
		if err == nil && e != nil && e.Reserved(envelope.AttrDeadLetterID) == "" {
			err = errors.New("it is no dead letter: the attribute dlid is missing")
		}
		if err != nil {
			return errors.Join(m.put(ctx, &batch, brokers), fmt.Errorf("letter %d of the file: %w", n, err))
		}
		topic := line.Topic
		if m.topic != "" {
			topic = m.topic
		}
		if topic != batch.topic || len(batch.envelopes)+len(batch.raw) >= mostTogether || batch.bytes > mostBytes {
			if err := m.put(ctx, &batch, brokers); err != nil {
				return err
			}
			batch = importBatch{topic: topic}
		}
		if e != nil {
			batch.envelopes, batch.bytes = append(batch.envelopes, e), batch.bytes+len(e.Data)
		} else {
			batch.raw, batch.bytes = append(batch.raw, raw), batch.bytes+len(raw.Body)
		}
	}
}

// put publishes a batch.
func (m *deadImporting) put(ctx context.Context, batch *importBatch, brokers map[string]*transport.Transport) error {
	if len(batch.envelopes)+len(batch.raw) == 0 {
		return nil
	}
	broker, err := m.broker(ctx, batch.topic, brokers)
	if err != nil {
		return err
	}
	msgs := batch.raw
	for _, e := range batch.envelopes {
		msgs = append(msgs, encoded(broker, e, ""))
	}
	if err := broker.PublishRaw(ctx, batch.topic, msgs...); err != nil {
		return err
	}
	m.done += len(batch.envelopes) + len(batch.raw)
	m.shown.showDone(m.done, "imported")
	return ctx.Err()
}

// encoded is an envelope as the transport writes it, with an id of its own for
// brokers that drop what they have had: a letter that was dropped a moment ago must
// not be taken for a repeat of itself.
func encoded(broker *transport.Transport, e *envelope.Envelope, dedupID string) *driver.Message {
	style := broker.Capabilities().Headers
	binding := envelope.NewBinding(style.Prefix, style.ContentType, style.Percent)
	return &driver.Message{Key: e.Key, Headers: binding.Encode(nil, e), Body: e.Data, DedupID: dedupID}
}

// broker is open, and has the topic, which must hold dead letters of some agent.
func (m *deadImporting) broker(ctx context.Context, topic string, brokers map[string]*transport.Transport) (*transport.Transport, error) {
	if err := config.CheckTopic(topic); err != nil {
		return nil, err
	}
	var spec *wiredTopic
	for _, t := range m.system.topics() {
		if t.name == topic && len(t.deadLettersOf) > 0 {
			spec = t
		}
	}
	if spec == nil {
		return nil, fmt.Errorf("topic %q takes the dead letters of no agent in the configuration: name another with --topic", topic)
	}
	broker := brokers[spec.transport]
	if broker == nil {
		var err error
		if broker, err = m.system.open(ctx, spec.transport, true); err != nil {
			return nil, err
		}
		brokers[spec.transport] = broker
	}
	if _, err := broker.EnsureTopic(ctx, m.system.specOf(spec)); err != nil {
		return nil, err
	}
	return broker, nil
}
