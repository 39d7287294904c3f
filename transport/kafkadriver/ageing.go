package kafkadriver

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// How often a member looks how old the backlogs of its sources are.
const (
	ageingFirst   = 10 * time.Second
	ageingPause   = time.Minute
	ageingTimeout = 15 * time.Second
)

// watchAges tells of backlogs that the retention of their topics is about to take,
// handled or not.
func (m *member) watchAges() {
	timer := time.NewTimer(ageingFirst)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-m.ctx.Done():
			return
		}
		for _, s := range m.sources() {
			s.watchAge(m.ctx)
		}
		timer.Reset(ageingPause)
	}
}

// sources are those that read through the member.
func (m *member) sources() []*source {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*source
	for topic, readers := range m.readers {
		for _, s := range readers {
			if s.sub.Topic == topic {
				all = append(all, s)
			}
		}
	}
	return all
}

// watchAge looks at one backlog. What cannot be read now is looked at the next
// time: a broker that is away is told of by those who fetch.
func (s *source) watchAge(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, ageingTimeout)
	defer cancel()
	set, err := s.d.settings(ctx, s.sub.Topic)
	if err != nil {
		return
	}
	kept := describe(kadm.TopicDetail{Topic: s.sub.Topic}, set).RetentionAge
	if kept <= 0 {
		s.noteAge(nil)
		return
	}
	if lag, err := s.d.Lag(ctx, s.sub.Topic, s.sub.Group); err == nil {
		s.noteAge(ageing(s.sub.Topic, kept, lag.Oldest, time.Now()))
	}
}

// ageing is the error of a backlog whose oldest message has passed four fifths of
// its life; a zero time: there is none.
func ageing(topic string, kept time.Duration, oldest, now time.Time) error {
	if oldest.IsZero() || now.Sub(oldest) < kept/5*4 {
		return nil
	}
	return fmt.Errorf("topic %q is about to drop messages that are not handled: the oldest is %v old, and %v is all that it keeps: "+
		"more workers, or a longer retention", topic, now.Sub(oldest).Round(time.Second), kept)
}

// noteAge keeps what Trouble tells, and logs when it begins and ends.
func (s *source) noteAge(err error) {
	s.m.mu.Lock()
	changed := (err == nil) != (s.ageing == nil)
	s.ageing = err
	s.m.mu.Unlock()
	switch log := s.d.log.With("topic", s.sub.Topic, "group", s.sub.Group); {
	case !changed:
	case err != nil:
		log.Warn("unhandled messages are about to be dropped by age", "error", err)
	default:
		log.Info("the oldest unhandled message is young enough again")
	}
}
