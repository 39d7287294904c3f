package natsdriver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// TestDuplicates: a second message with the same id counts as stored, and is not.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	for _, body := range []string{"first", "second"} {
		msgs := texts(body)
		msgs[0].DedupID = "the same"
		if err := d.Publish(t.Context(), topic, msgs); err != nil {
			t.Fatal(err)
		}
	}
	src := subscribe(t, d, sub(topic))
	want(t, take(t, src, 1), "first")
	quiet(t, src, "the second has the id of the first")
}

// TestStall: more messages than may be on their way wait for room, longer than
// the 200 ms after which the client's own publisher gives up.
func TestStall(t *testing.T) {
	t.Parallel()
	server := brokertest.NATS(t)
	d, _ := open(t, server.URL, func(o *Options) { o.MaxPending = 3 })
	topic := unique(t)
	publish(t, d, topic, "0")
	server.Pause(t)
	done := make(chan error, 1)
	go func() { done <- d.Publish(context.WithoutCancel(t.Context()), topic, manyTexts(500)) }()
	select {
	case err := <-done:
		t.Fatalf("Publish returned %v while the server stood still", err)
	case <-time.After(600 * time.Millisecond):
	}
	server.Resume(t)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func manyTexts(n int) []*driver.Message {
	var msgs []*driver.Message
	for i := range n {
		msgs = append(msgs, &driver.Message{Body: []byte(strconv.Itoa(i))})
	}
	return msgs
}

// TestPublishTimeout: a server that says nothing is no reason to wait for ever,
// and a failure leaves nothing behind.
func TestPublishTimeout(t *testing.T) {
	t.Parallel()
	server := brokertest.NATS(t)
	d, _ := open(t, server.URL, func(o *Options) {
		o.PublishTimeout, o.MaxPending = value.Duration(300*time.Millisecond), 4
	})
	topic := unique(t)
	publish(t, d, topic, "0")
	server.Pause(t)
	for range 3 {
		err := d.Publish(t.Context(), topic, manyTexts(6))
		if !errors.Is(err, errNoAnswer) || !strings.Contains(err.Error(), "publish_timeout") {
			t.Errorf("error %v, want one that names publish_timeout", err)
		}
	}
	server.Resume(t)
	publish(t, d, topic, "1")
}

// TestStreamIsTheTopics: a message never lands in another stream, which took the
// subject over while we were not looking.
func TestStreamIsTheTopics(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	publish(t, d, topic, "1")
	if err := d.js.DeleteStream(t.Context(), escapeName(topic)); err != nil {
		t.Fatal(err)
	}
	other, err := d.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "other-" + escapeName(topic), Subjects: []string{topic}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), topic, texts("2")); apiCode(err) != codeStreamMismatch {
		t.Errorf("error %v, want that the stream is another", err)
	}
	info, err := other.Info(t.Context())
	if err != nil || info.State.Msgs != 0 {
		t.Errorf("the other stream holds %d messages, %v", info.State.Msgs, err)
	}
}

func TestDeletedTopic(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	publish(t, d, topic, "1")
	if err := d.js.DeleteStream(t.Context(), escapeName(topic)); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), topic, texts("2")); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("Publish to a topic that was deleted: %v, want ErrNotFound", err)
	}
	publish(t, d, topic, "3") // it is made anew, as on first use
	want(t, take(t, subscribe(t, d, sub(topic)), 1), "3")
}

// TestHeadersOfOneMessageFailAlone: the others of the call are stored.
func TestHeadersOfOneMessageFailAlone(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	msgs := texts("0", "1", "2")
	msgs[1].Headers = []driver.Header{{Name: "Nats-Rollup", Value: "all"}}
	err := d.Publish(t.Context(), topic, msgs)
	failed, named := errors.AsType[driver.BatchError](err)
	if !named || len(failed) != 1 || failed[1] == nil {
		t.Fatalf("error %v, want a BatchError that names message 1", err)
	}
	want(t, take(t, subscribe(t, d, sub(topic)), 2), "0", "2")
}

// TestCutConnection: with the connection cut again and again, what is confirmed is
// there, and what is not was counted as failed.
func TestCutConnection(t *testing.T) {
	t.Parallel()
	d, line := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	publish(t, d, topic, "start")
	var wg sync.WaitGroup
	var mu sync.Mutex
	confirmed, failed := map[string]bool{"start": true}, 0
	stop := make(chan struct{})
	for p := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				body := fmt.Sprintf("%d-%d", p, i)
				err := d.Publish(t.Context(), topic, texts(body))
				mu.Lock()
				if err == nil {
					confirmed[body] = true
				} else {
					failed++
				}
				mu.Unlock()
			}
		})
	}
	for range 5 {
		<-time.After(150 * time.Millisecond)
		line.cut(false)
	}
	close(stop)
	wg.Wait()
	t.Logf("%d confirmed, %d failed", len(confirmed), failed)
	s := sub(topic)
	s.Window = 1000
	src := subscribe(t, d, s)
	for len(confirmed) > 0 {
		for _, m := range take(t, src, 1) {
			delete(confirmed, string(m.Body))
			settle(t, src, driver.Ack, m)
		}
	}
}

// TestPublishWhileDisconnected waits as long as its context allows, and no
// message is sent after the call gave up.
func TestPublishWhileDisconnected(t *testing.T) {
	t.Parallel()
	server := brokertest.NATS(t)
	d, _ := open(t, server.URL, nil)
	topic := unique(t)
	publish(t, d, topic, "1")
	server.Stop(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := d.Publish(ctx, topic, texts("given up")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that of the context", err)
	}
	if err := d.Ping(t.Context()); err == nil {
		t.Error("Ping answers without a server")
	}
	done := make(chan error, 1)
	go func() { done <- d.Publish(patience(t), topic, texts("2")) }()
	server.Start(t)
	if err := <-done; err != nil {
		t.Errorf("Publish that waited for the server: %v", err)
	}
	want(t, take(t, subscribe(t, d, sub(topic)), 2), "1", "2")
}

// TestFullTopic: what every group has settled makes room; until then Publish
// waits, or, where it must not, fails.
func TestFullTopic(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	if _, err := d.EnsureTopic(t.Context(), driver.Topic{Name: topic, RetentionBytes: 20_000}); err != nil {
		t.Fatal(err)
	}
	slow, quick := sub(topic), sub(topic)
	slow.Group = "slow"
	src, other := subscribe(t, d, slow), subscribe(t, d, quick)
	big := &driver.Message{Body: bytes.Repeat([]byte("x"), 8_000)}
	for range 2 {
		if err := d.Publish(t.Context(), topic, []*driver.Message{big}); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, other, driver.Ack, take(t, other, 2)...)
	overflow := driver.WithOverflow(t.Context())
	if err := d.Publish(overflow, topic, []*driver.Message{big}); err == nil || !strings.Contains(err.Error(), "full") {
		t.Errorf("a publish that must not wait: %v, want that the topic is full", err)
	}
	done := make(chan error, 1)
	go func() { done <- d.Publish(patience(t), topic, []*driver.Message{big}) }()
	held := take(t, src, 2)
	select {
	case err := <-done:
		t.Fatalf("Publish returned %v, though a group has settled nothing", err)
	case <-time.After(300 * time.Millisecond):
	}
	settle(t, src, driver.Ack, held...)
	if err := <-done; err != nil {
		t.Errorf("Publish after room was made: %v", err)
	}
	take(t, src, 1)
}

// TestDeniedPublish: the server says so beside the publish only.
func TestDeniedPublish(t *testing.T) {
	t.Parallel()
	server := brokertest.NATS(t, `authorization { users: [ { user: u, password: p, permissions: { publish: { deny: ["secret.>"] } } } ] }`)
	d, _ := open(t, server.URL, func(o *Options) { o.User, o.Password = "u", value.NewSecret("p") })
	if err := d.Publish(patience(t), "secret.thing", texts("1")); !errors.Is(err, driver.ErrDenied) {
		t.Errorf("error %v, want ErrDenied", err)
	}
	publish(t, d, "open.thing", "1")
}

// TestBrokenHeader: a message that a raw client wrote with a header that cannot
// be read comes through without headers, and the next one too.
func TestBrokenHeader(t *testing.T) {
	t.Parallel()
	server := brokertest.SharedNATS(t)
	d, _ := open(t, server.URL, nil)
	topic := unique(t)
	for _, s := range []driver.Subscription{sub(topic), ordered(topic)} {
		src := subscribe(t, d, s)
		rawPublish(t, server, topic, "NATS/1.0\r\nno colon here\r\n\r\n", "broken")
		publish(t, d, topic, "fine")
		got := take(t, src, 2)
		want(t, got, "broken", "fine")
		if len(got[0].Headers) != 0 {
			t.Errorf("headers are %v", got[0].Headers)
		}
		settle(t, src, driver.Ack, got...)
	}
}

// rawPublish writes a header as it is.
func rawPublish(t *testing.T, server *brokertest.Server, subject, header, body string) {
	t.Helper()
	conn, err := (&mortal{}).Dial("tcp", server.Addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "CONNECT {\"verbose\":false,\"headers\":true}\r\nHPUB %s %d %d\r\n%s%s\r\nPING\r\n",
		subject, len(header), len(header)+len(body), header, body)
	if err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	for all := ""; !strings.Contains(all, "PONG"); {
		n, err := conn.Read(answer)
		if err != nil {
			t.Fatal(err)
		}
		all += string(answer[:n])
	}
}
