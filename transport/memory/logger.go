package memory

import "log/slog"

// SetLogger has the fall of messages out of a topic that no group reads logged,
// once per topic. Where OnDrop is set, that stays.
func (o *Options) SetLogger(log *slog.Logger) {
	if o.OnDrop != nil || log == nil {
		return
	}
	o.OnDrop = func(topic string) {
		log.Warn("no agent reads this topic, so memory keeps only its newest messages", "topic", topic, "keeps", RingSize)
	}
}
