package watermillkafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/watermillbridge"
)

const (
	lookEvery = time.Second
	// tellEvery is how often a complaint is repeated while it holds: one that is not
	// counts as over after a while.
	tellEvery = 200 * time.Millisecond
	// answerWithin is how long brokers may take before they count as away.
	answerWithin = 5 * time.Second
	// absences is in how many looks in a row a topic has to be missing: brokers learn
	// one after the other of what happens to topics.
	absences = 2
)

var _ watermillbridge.Reporter = (*member)(nil)

// Report implements [watermillbridge.Reporter].
func (m *member) Report(tell func(error)) { m.tell = tell }

// Subscribe begins to look, too.
func (m *member) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	messages, err := m.Subscriber.Subscribe(ctx, topic)
	if err == nil {
		m.looking.Go(m.look)
	}
	return messages, err
}

// look asks the brokers for the topic for as long as the member lives. Neither the
// adapter nor sarama tells of brokers that are away; and where somebody deletes the
// topic they go on with positions that the next topic of that name does not have.
// Then the subscription ends: whoever subscribes again finds a topic, makes it, or
// is refused.
func (m *member) look() {
	var (
		seen    sightings
		trouble error
	)
	answers := make(chan sighting, 1)
	next, late, again := time.NewTimer(0), time.NewTimer(answerWithin), time.NewTicker(tellEvery)
	defer next.Stop()
	defer late.Stop()
	defer again.Stop()
	for {
		select {
		case <-next.C:
			m.looking.Go(func() { answers <- m.d.sight(m.sub.Topic) })
			late.Reset(answerWithin)
		case s := <-answers:
			late.Stop()
			next.Reset(lookEvery)
			if trouble = s.err; seen.replaced(s) {
				m.watch.lose()
			}
		case <-late.C:
			trouble = fmt.Errorf("the brokers do not answer within %v", answerWithin)
		case <-again.C:
			if trouble != nil {
				m.tell(trouble)
			}
		case <-m.watch.gone:
			m.d.o.Logger.Error("the topic was deleted by somebody: the subscription begins anew", "topic", m.sub.Topic, "group", m.sub.Group)
			m.d.topics.Delete(m.sub.Topic)
			_ = m.Subscriber.Close() // its messages end
			return
		case <-m.closing:
			return
		}
	}
}

// sighting is what the brokers say of a topic.
type sighting struct {
	id  string // another one for a topic that is made anew
	err error
}

func (d *Driver) sight(topic string) sighting {
	has, err := d.metadata(topic)
	if err != nil {
		return sighting{err: wrap(err)}
	}
	return sighting{id: string(has.Uuid[:])}
}

// sightings are those of one topic so far.
type sightings struct {
	last   string
	absent int
}

// replaced reports whether the topic that was there is not there any more.
func (s *sightings) replaced(now sighting) bool {
	switch {
	case errors.Is(now.err, driver.ErrNotFound):
		s.absent++
		return s.last != "" && s.absent >= absences
	case now.err != nil:
		return false
	}
	was := s.last
	s.last, s.absent = now.id, 0
	return was != "" && was != now.id
}
