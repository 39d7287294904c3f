package natsdriver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/transport/driver"
)

// topic looks at a stream.
func (x *inspection) topic(ctx context.Context, name string) error {
	subject := "topic " + name
	stream, err := streamName(name)
	if err != nil {
		x.note(driver.Danger, "stream", subject, "no stream can have this name", err.Error(), "rename the topic")
		return nil
	}
	if !x.mayAsk("stream", subject, "STREAM.INFO."+stream) {
		return nil
	}
	asking, cancel := x.ask(ctx)
	defer cancel()
	before := time.Now()
	s, err := x.js.Stream(asking, stream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		x.absent(asking, name, subject)
		return nil
	case x.unanswered(ctx, "stream", subject, err):
		return nil
	case err != nil:
		return fmt.Errorf("topic %q: %w", name, wrap(err))
	}
	info := s.CachedInfo()
	x.streams[name] = info
	x.tell(info.TimeStamp, before, time.Now())
	if err := check(driver.Topic{Name: name}, &info.Config); err != nil {
		x.note(driver.Danger, "stream", subject, "stream "+stream, fmt.Sprintf("the stream %v", err),
			"delete or rename the stream, or rename the topic")
		return nil
	}
	x.good("stream", subject, fmt.Sprintf("stream %s, %d messages", stream, info.State.Msgs))
	x.storage(subject, info)
	x.replicas(subject, info)
	x.bounds(subject, info)
	x.window(subject, &info.Config)
	return nil
}

// absent is no fault where the driver may make the topic, and can.
func (x *inspection) absent(ctx context.Context, name, subject string) {
	if x.o.Require || x.topics.specOf(name).Require {
		x.note(driver.Danger, "stream", subject, "none", "the topic is required, and agents refuse to start without it",
			"make it: nats stream add, or take require out")
		return
	}
	if needs, other := x.taken(ctx, name); other != "" {
		x.note(driver.Danger, "stream", subject, fmt.Sprintf("none, and subject %s belongs to stream %s", needs, other),
			"a subject has one stream, so the topic cannot be made", "rename the topic, or that stream")
		return
	}
	x.missing++
	x.good("stream", subject, "none yet, it is made on first use")
}

// taken finds a subject that a topic needs and another stream has; empty: there is
// none, or nobody tells.
func (x *inspection) taken(ctx context.Context, name string) (subject, stream string) {
	if !x.user.publish().allows(x.api() + "STREAM.NAMES") {
		return "", ""
	}
	for _, subject := range subjectsOf(name, max(x.topics.specOf(name).Shards, 1)) {
		if other, err := x.js.StreamNameBySubject(ctx, subject); err == nil {
			return subject, streamText(other)
		}
	}
	return "", ""
}

func (x *inspection) storage(subject string, info *jetstream.StreamInfo) {
	switch {
	case info.Config.Storage == jetstream.MemoryStorage:
		level := driver.Danger
		if x.o.Storage == "memory" || info.Config.Replicas > 1 {
			level = driver.Warning // asked for, or copied
		}
		x.note(level, "storage", subject, "memory", "the messages are lost when the server ends",
			"make the topic anew with storage: file, which is the transport's default")
	case info.Config.PersistMode != jetstream.DefaultPersistMode:
		x.note(driver.Danger, "storage", subject, "file, persist_mode async", "publishing is confirmed before the server has written anything",
			"make the topic anew without persist_mode async")
	default:
		x.good("storage", subject, "file")
	}
}

// replicas looks at the copies of a stream.
func (x *inspection) replicas(subject string, info *jetstream.StreamInfo) {
	n := info.Config.Replicas
	found := fmt.Sprint(n)
	if x.nc.ConnectedClusterName() == "" {
		x.good("replicas", subject, found+", and the server is alone")
		return
	}
	for _, peer := range peersOf(info) {
		if peer.Offline || !peer.Current {
			x.note(driver.Warning, "replicas", subject, fmt.Sprintf("%d, and %s is behind or away", n, peer.Name),
				"another loss may stop the topic", "look after that server: nats stream info")
			return
		}
	}
	if n == 1 {
		x.note(driver.Warning, "replicas", subject, found, "the topic stops while its one server is away, and is lost with that server's disk",
			"set replicas: 3 on the topic or the transport, before the topic is made; nats stream edit --replicas=3 on one that exists")
		return
	}
	x.good("replicas", subject, found)
}

func peersOf(info *jetstream.StreamInfo) []*jetstream.PeerInfo {
	if info.Cluster == nil {
		return nil
	}
	return info.Cluster.Replicas
}

// bounds looks at what happens when a stream is full, and how near that is.
func (x *inspection) bounds(subject string, info *jetstream.StreamInfo) {
	cfg := &info.Config
	if cfg.MaxMsgSize > 0 && int64(cfg.MaxMsgSize) < int64(x.o.MaxBody) {
		x.note(driver.Warning, "max_msg_size", subject, fmt.Sprintf("%d bytes, max_body of the transport is %v", cfg.MaxMsgSize, x.o.MaxBody),
			"larger messages are refused when they are published", "raise max_msg_size of the stream, or lower max_body")
	}
	if cfg.MaxBytes <= 0 && cfg.MaxMsgs <= 0 {
		x.good("bounds", subject, "messages are kept for "+ageText(cfg.MaxAge))
		return
	}
	part := max(share(int64(info.State.Bytes), cfg.MaxBytes), share(int64(info.State.Msgs), cfg.MaxMsgs))
	found := fmt.Sprintf("%.0f %% full, discard %v", 100*part, discardText(cfg.Discard))
	switch {
	case cfg.Discard == jetstream.DiscardOld:
		x.note(driver.Danger, "bounds", subject, found, "when it is full, the oldest messages are dropped, read or not, without a word",
			"nats stream edit --discard=new, or remove max_bytes and max_msgs")
	case part >= nearlyFull:
		x.note(driver.Warning, "bounds", subject, found, "when it is full, publishing waits and then fails",
			"raise retention.bytes of the topic and max_bytes of its stream, or shorten its age")
	default:
		x.good("bounds", subject, found)
	}
}

func share(used, most int64) float64 {
	if most <= 0 {
		return 0
	}
	return float64(used) / float64(most)
}

func discardText(p jetstream.DiscardPolicy) string {
	if p == jetstream.DiscardNew {
		return "new"
	}
	return "old"
}

// shortWindow is a deduplication window that a publisher's second attempt may
// miss.
const shortWindow = 30 * time.Second

func (x *inspection) window(subject string, cfg *jetstream.StreamConfig) {
	if cfg.Duplicates >= shortWindow || cfg.MaxAge > 0 && cfg.Duplicates >= cfg.MaxAge {
		x.good("duplicate_window", subject, cfg.Duplicates.String())
		return
	}
	x.note(driver.Warning, "duplicate_window", subject, cfg.Duplicates.String(),
		"a message that is published again after its confirmation was lost is stored twice", "nats stream edit --dupe-window=2m")
}
