package drivertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// env is what one case works with.
type env struct {
	testing.TB

	h       Harness
	name    string
	skipped string // why, once it is
	said    string // the last error that was reported

	d    driver.Driver
	caps driver.Capabilities
}

// start opens the driver, decides whether the case applies, and runs it.
func (e *env) start(c Case) {
	e.Helper()
	if reason, ok := e.h.Skip[c.Name]; ok {
		e.skip("known: " + reason)
	}
	e.d = e.open()
	e.caps = e.d.Capabilities()
	if n := e.h.unmet(c.Needs, e.d); n != "" {
		e.skip("needs " + string(n))
	}
	c.run(e)
}

func (e *env) skip(reason string) {
	e.Helper()
	e.skipped = reason
	e.Skipf("%s skipped: %s", e.name, reason)
}

// open returns a further driver on the same broker.
func (e *env) open() driver.Driver {
	e.Helper()
	return e.closeLater(e.h.Open(e.TB))
}

func (e *env) closeLater(d driver.Driver) driver.Driver {
	e.Cleanup(func() {
		if err := d.Close(e.cleanup()); err != nil {
			e.Logf("closing the driver: %v", err)
		}
	})
	return d
}

// ctx ends after the harness's patience, or with the test.
func (e *env) ctx() context.Context { return e.within(e.h.Patience) }

func (e *env) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(e.Context(), d)
	e.Cleanup(cancel)
	return ctx
}

// cleanup is a context for what runs after the test's own has ended.
func (e *env) cleanup() context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.Context()), e.h.Patience)
	e.Cleanup(cancel)
	return ctx
}

// unique makes a topic or group name that nobody else uses, spelled as agents
// spell theirs: lower case, with dots and dashes.
func (e *env) unique(kind string) string {
	slug := strings.NewReplacer("/", ".").Replace(e.name)
	return fmt.Sprintf("dt.%s.%s-%s", slug, kind, strings.ToLower(rand.Text()[:10]))
}

func (e *env) group() string { return e.unique("group") }

// topic makes a fresh topic, with this number of shards where that can be said.
func (e *env) topic(shards int) string {
	e.Helper()
	name := e.unique("topic")
	e.create(name, shards)
	return name
}

// create makes the topic where the driver can; elsewhere the first use does.
func (e *env) create(name string, shards int) {
	e.Helper()
	if a, ok := e.d.(driver.Admin); ok {
		_, err := a.EnsureTopic(e.ctx(), driver.Topic{Name: name, Shards: shards})
		e.mustf(err, "EnsureTopic(%s, %d shards)", name, shards)
	}
}

func (e *env) publish(topic string, msgs ...*driver.Message) {
	e.Helper()
	e.mustf(e.d.Publish(e.ctx(), topic, msgs), "Publish of %d messages", len(msgs))
}

// publishOne makes one call per message.
func (e *env) publishOne(topic string, msgs ...*driver.Message) {
	e.Helper()
	for _, m := range msgs {
		e.publish(topic, m)
	}
}

func (e *env) mustf(err error, format string, args ...any) {
	e.Helper()
	if err != nil {
		e.Fatalf("%s: %v", fmt.Sprintf(format, args...), err)
	}
}

// wantIs fails unless err wraps target.
func (e *env) wantIs(err, target error, what string) {
	e.Helper()
	if !errors.Is(err, target) {
		e.Errorf("%s: error %v, want one that wraps %q", what, err, target)
	}
}

// msg is a message whose body and id are text, so that it can be told from all
// others of its topic.
func (e *env) msg(key, text string) *driver.Message {
	return &driver.Message{
		Key:     key,
		Headers: []driver.Header{{Name: e.caps.Headers.Prefix + "id", Value: text}},
		Body:    []byte(text),
	}
}

// numbered are messages of one key with the bodies from..to.
func (e *env) numbered(key string, from, to int) []*driver.Message {
	var msgs []*driver.Message
	for i := from; i <= to; i++ {
		msgs = append(msgs, e.msg(key, strconv.Itoa(i)))
	}
	return msgs
}

// keyed are n messages with as many keys.
func (e *env) keyed(n int) []*driver.Message {
	var msgs []*driver.Message
	for i := 1; i <= n; i++ {
		msgs = append(msgs, e.msg("key-"+strconv.Itoa(i), strconv.Itoa(i)))
	}
	return msgs
}

// bodies says which messages these are, in their order.
func bodies(msgs []*driver.Message) []string {
	texts := make([]string, 0, len(msgs))
	for _, m := range msgs {
		texts = append(texts, string(m.Body))
	}
	return texts
}

// numbers are the bodies from..to.
func numbers(from, to int) []string {
	var texts []string
	for i := from; i <= to; i++ {
		texts = append(texts, strconv.Itoa(i))
	}
	return texts
}

// eventually calls ok until it is true. It gives up after the patience.
func (e *env) eventually(what string, ok func(ctx context.Context) bool) {
	e.Helper()
	ctx := e.ctx()
	for !ok(ctx) {
		if !pause(ctx, e.h.Quiet/10) {
			e.Fatalf("%s: not within %v", what, e.h.Patience)
		}
	}
}

// pause waits between two looks at a condition; it is false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
