//go:build unix

package kafkadriver

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport"
)

// memberVariable tells a process of this test binary what to do.
const memberVariable = "ANYWIRE_KAFKADRIVER_MEMBER"

// part is what a member works on.
type part struct {
	Brokers         []string
	Topic, Protocol string
	Journal         string // a file: a line "key n" for each message when its handler ends
	System          string
}

// member handles messages in order of their keys until ctx ends.
func (p part) work(ctx context.Context, change func(*Options)) error {
	journal, err := os.OpenFile(p.Journal, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer journal.Close()
	o := Options{Brokers: p.Brokers, Protocol: p.Protocol, System: p.System}
	if change != nil {
		change(&o)
	}
	d, err := Open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close(context.WithoutCancel(ctx)) }()
	return transport.New(d, nil).Subscribe(ctx, p.Topic, func(ctx context.Context, dl *transport.Delivery) transport.Outcome {
		timer := time.NewTimer(5 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return transport.HandBack()
		}
		if _, err := fmt.Fprintf(journal, "%s %s\n", dl.Envelope.Key, dl.Envelope.Data); err != nil {
			return transport.HandBack()
		}
		return transport.Done()
	}, &transport.SubscribeOptions{
		Order: transport.OrderKey, Concurrency: 8, Window: 64, Lease: 3 * time.Second, DrainTimeout: 5 * time.Second,
	})
}

// TestMemberProcess is a member in a process of its own, that another test starts.
// It ends with its input.
func TestMemberProcess(t *testing.T) {
	text := os.Getenv(memberVariable)
	if text == "" {
		return
	}
	var p part
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := p.work(ctx, nil); err != nil {
		t.Error(err)
	}
}

// process starts a member.
func (p part) process(t *testing.T) (cmd *exec.Cmd, stop func()) {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "-test.run=^TestMemberProcess$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), memberVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			_ = input.Close()
			if err := cmd.Wait(); err != nil {
				t.Errorf("the member's process: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		stop()
	})
	return cmd, stop
}

// goroutine starts a member in this process.
func (p part) goroutine(t *testing.T, change func(*Options)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := p.work(ctx, change); err != nil {
			t.Errorf("a member: %v", err)
		}
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

// handled are the messages of each key in the order in which they were handled
// first.
func (p part) handled(t *testing.T) (first map[string][]int, total int) {
	t.Helper()
	file, err := os.Open(p.Journal)
	if err != nil {
		return nil, 0
	}
	defer file.Close()
	seen := map[string]bool{}
	first = map[string][]int{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		key, n, ok := strings.Cut(lines.Text(), " ")
		if !ok || seen[lines.Text()] {
			continue
		}
		seen[lines.Text()] = true
		number, err := strconv.Atoi(n)
		if err != nil {
			t.Fatalf("journal has the line %q", lines.Text())
		}
		first[key] = append(first[key], number)
	}
	return first, len(seen)
}

// Members come and go, one dies, one is cut off and comes back, one stands still
// as a whole process and goes on, while 3,000 messages of 50 keys flow: nothing is
// lost, and the first completions of each key come in order.
func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{protocolConsumer, protocolClassic} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			comeAndGo(t, protocol)
		})
	}
}

func comeAndGo(t *testing.T, protocol string) {
	t.Helper()
	const keys, each, shards, rounds = 50, 60, 6, 4
	server := brokertest.SharedKafka(t)
	d, _ := open(t, server.Addrs, nil)
	p := part{
		Brokers: server.Addrs, Topic: topicOf(t, d, shards), Protocol: protocol, System: d.o.System,
		Journal: filepath.Join(t.TempDir(), "journal"),
	}
	published := 0
	tp := transport.New(d, nil)
	round := func() { // publishes a part of each key's messages
		t.Helper()
		var msgs []*envelope.Envelope
		for n := published / keys; n < (published/keys)+each/rounds; n++ {
			for k := range keys {
				e, err := envelope.New(envelope.Raw{Type: "t@1", ContentType: "text/plain", Data: []byte(strconv.Itoa(n))}, envelope.WithKey(fmt.Sprint("k", k)))
				if err != nil {
					t.Fatal(err)
				}
				msgs = append(msgs, e)
			}
		}
		if err := tp.Publish(patience(t), p.Topic, msgs...); err != nil {
			t.Fatal(err)
		}
		published += len(msgs)
	}
	total := func() int { _, n := p.handled(t); return n }
	reaches := func(what string, n int) {
		t.Helper()
		await(t, what, func() bool { return total() >= n })
	}

	round()
	leaving := p.goroutine(t, nil)
	reaches("the first member works", 20)
	p.goroutine(t, nil)
	frosted, mortal := &frost{}, &mortal{}
	p.goroutine(t, func(o *Options) { o.Dial = frosted.dial })
	dying := p.goroutine(t, func(o *Options) { o.Dial = mortal.dial })
	still, endStill := p.process(t)
	reaches("the first round is handled", published)
	await(t, "every member has a part", func() bool { return membersWithAPart(t, d, p) == 5 })

	round()
	reaches("the second round is begun", published-keys*each/rounds+100)
	frosted.freeze()
	mortal.cut(true)
	go dying()
	if err := still.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	go leaving()
	round()
	reaches("one member does the work of all", published)

	frosted.goOn()
	if err := still.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.goroutine(t, nil)
	round()
	reaches("everything is handled", keys*each)
	await(t, "everything is settled", func() bool {
		lag, err := d.Lag(t.Context(), p.Topic, p.Topic)
		return err == nil && lag.Waiting == 0
	})
	endStill()
	first, _ := p.handled(t)
	for key, numbers := range first {
		for i, n := range numbers {
			if n != i {
				t.Fatalf("key %s was handled first in the order %v", key, numbers)
			}
		}
	}
}

// membersWithAPart are those of the group that have partitions.
func membersWithAPart(t *testing.T, d *Driver, p part) int {
	t.Helper()
	n := 0
	if p.Protocol == protocolClassic {
		groups, err := d.adm.DescribeGroups(t.Context(), p.Topic)
		if err != nil {
			return 0
		}
		for _, m := range groups[p.Topic].Members {
			if c, ok := m.Assigned.AsConsumer(); ok && len(c.Topics) > 0 {
				n++
			}
		}
		return n
	}
	groups, err := d.adm.DescribeConsumerGroups(t.Context(), p.Topic)
	if err != nil {
		return 0
	}
	for _, m := range groups[p.Topic].Members {
		if len(m.Assignment) > 0 {
			n++
		}
	}
	return n
}
