package transport

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport/driver"
)

// plainTopics makes the mappers of Options.Plain.
func plainTopics(b *envelope.Binding, types map[string]string, fields bool) (map[string]*envelope.Plain, error) {
	plain := make(map[string]*envelope.Plain, len(types))
	for _, topic := range slices.Sorted(maps.Keys(types)) {
		p, err := envelope.NewPlain(b, topic, types[topic], fields)
		if err != nil {
			return nil, fmt.Errorf("plain topic %q: %w", topic, err)
		}
		plain[topic] = p
	}
	return plain, nil
}

// readPlain reads a message of a topic that plain clients use. Their key orders
// and partitions as any other, where it can stand in an attribute.
func readPlain(p *envelope.Plain, m *driver.Message, into *envelope.Envelope) error {
	if err := p.Decode(m.Headers, m.Body, positionOf(m), into); err != nil {
		return err
	}
	if into.Key == "" {
		_ = envelope.WithKey(m.Key)(into) // else it has none
	}
	return nil
}

// positionOf is where a message stands in its topic; empty: the broker does not
// say.
func positionOf(m *driver.Message) string {
	switch {
	case m == nil:
		return ""
	case m.Position != "":
		return m.Position
	case m.Seq > 0:
		return strconv.Itoa(m.Shard) + ":" + strconv.FormatUint(m.Seq, 10)
	default:
		return ""
	}
}

// copied is the headers that a copy of t needs to be the same message.
func (t *task) copied() []driver.Header {
	tr := t.src.sub.t
	if p := tr.plain[t.Topic]; p != nil && tr.caps.DelaysByCopy && t.Envelope != nil && t.Raw.Local == nil {
		return p.Identify(t.Raw.Headers, t.Envelope)
	}
	return nil
}
