package redisdriver

import (
	"context"
	"fmt"
	"time"
)

const (
	// trimAtOnce bounds the entries that one script drops.
	trimAtOnce = 1000
	// trimPause is between two scripts.
	trimPause = 20 * time.Millisecond
)

// trim drops what is older than the topic's retention, from streams that no other
// member has trimmed within trimEvery.
func (s *source) trim(ctx context.Context) {
	meta, err := s.d.describe(ctx, s.sub.Topic)
	if err != nil || meta.retentionAge < 0 && meta.retentionBytes <= 0 {
		return
	}
	for _, st := range s.streams {
		key := companion(st.name, "trim")
		mine, err := s.d.client.SetNX(ctx, key, s.me, trimEvery-time.Second).Result()
		if err != nil || !mine {
			continue
		}
		if err := s.d.trimStream(ctx, st, meta); err != nil && ctx.Err() == nil {
			s.d.log.Warn("the topic was not trimmed", "topic", s.sub.Topic, "stream", st.name, "error", err)
		}
	}
}

// trimStream drops in small steps what may go.
func (d *Driver) trimStream(ctx context.Context, st *stream, meta topicMeta) error {
	alarmed := false
	for {
		n, expired, err := d.trimStep(ctx, st, meta)
		if err != nil {
			return err
		}
		if len(expired) > 0 && !alarmed {
			alarmed = true
			d.log.Error("nobody has seen these groups for group_expiry: what they have not settled is trimmed; delete them, or start their agents",
				"stream", st.name, "groups", expired, "group_expiry", d.o.GroupExpiry)
		}
		if n == 0 || !pause(ctx, trimPause) {
			return nil
		}
	}
}

func (d *Driver) trimStep(ctx context.Context, st *stream, meta topicMeta) (n int64, expired []string, err error) {
	age := int64(-1)
	if meta.retentionAge >= 0 {
		age = meta.retentionAge.Milliseconds()
	}
	reply, err := d.eval(ctx, trimScript, []string{st.name, st.records},
		"", age, d.o.GroupExpiry.Std().Milliseconds(), trimAtOnce, max(0, meta.retentionBytes)).Slice()
	if err != nil {
		return 0, nil, fmt.Errorf("trim stream %q: %w", st.name, wrap(err))
	}
	if len(reply) != 2 {
		return 0, nil, errReply
	}
	n, _ = reply[0].(int64)
	names, _ := reply[1].([]any)
	for _, name := range names {
		text, _ := name.(string)
		expired = append(expired, text)
	}
	return n, expired, nil
}
