package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/natsdriver"
)

const natsMessages = 40_960 // a multiple of every number of publishers

func natsRows() []row {
	return []row{
		{
			name: "nats", shape: "batches of 256", unit: "msg/s", goal: "≥ 0.9", peer: "raw nats.go",
			pair: both(onServer(oursNats(1, 256)), onServer(rawNats(1, 256))),
		},
		{
			name: "nats", shape: "512 single publishers", unit: "msg/s", goal: "≥ 0.75", peer: "raw nats.go",
			pair: both(onServer(oursNats(512, 1)), onServer(rawNats(512, 1))),
		},
		latencyRow("nats", openNats, rawNatsPublisher, 50, "≤ 1.05"),
		latencyRow("nats", openNats, rawNatsPublisher, 99, "≤ 1.15"),
	}
}

func openNats(ctx context.Context) (driver.Driver, error) {
	url, err := running.url(ctx, "nats")
	if err != nil {
		return nil, err
	}
	return natsdriver.Open(ctx, natsdriver.Options{URL: url})
}

func rawNatsPublisher(ctx context.Context) (publish func() error, done func(), err error) {
	url, err := running.url(ctx, "nats")
	if err != nil {
		return nil, nil, err
	}
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, nil, err
	}
	topic := fresh()
	js, err := jetstream.New(nc)
	if err == nil {
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: topic, Subjects: []string{topic}})
	}
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return func() error {
		m := rawMessage()
		m.Subject = topic
		_, err := js.PublishMsg(ctx, m)
		return err
	}, nc.Close, nil
}

// onServer measures against a fresh JetStream server in this process: file
// storage, and the server's own default of when it syncs, for both sides.
func onServer(measure func(ctx context.Context, nc *nats.Conn) (float64, error)) measurement {
	return func(ctx context.Context) (rate float64, err error) {
		dir, err := os.MkdirTemp("", "anywire-bench-nats-")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: dir, Host: "127.0.0.1", Port: -1, NoSigs: true})
		if err != nil {
			return 0, err
		}
		s.Start()
		defer s.WaitForShutdown()
		defer s.Shutdown()
		if !s.ReadyForConnections(10 * time.Second) {
			return 0, errors.New("the NATS server does not start")
		}
		nc, err := nats.Connect(s.ClientURL())
		if err != nil {
			return 0, err
		}
		defer nc.Close()
		return measure(ctx, nc)
	}
}

func oursNats(publishers, batch int) func(context.Context, *nats.Conn) (float64, error) {
	return func(ctx context.Context, nc *nats.Conn) (float64, error) {
		d := natsdriver.New(nc, nil)
		defer d.Close(ctx)
		t := transport.New(d, nil)
		if _, err := t.EnsureTopic(ctx, driver.Topic{Name: "bench"}); err != nil {
			return 0, err
		}
		handled := newCounter(natsMessages)
		subscribed, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() {
			ended <- t.Subscribe(subscribed, "bench", func(context.Context, *transport.Delivery) transport.Outcome {
				handled.add()
				return transport.Done()
			}, &transport.SubscribeOptions{Group: "sink", Window: window})
		}()
		began := time.Now()
		err := inParallel(publishers, func() error {
			return publishAll(ctx, t, natsMessages/publishers, batch, noKey)
		})
		if err == nil {
			err = handled.wait(ctx)
		}
		took := time.Since(began)
		stop()
		return natsMessages / took.Seconds(), errors.Join(err, <-ended)
	}
}

// inParallel runs n publishers side by side.
func inParallel(n int, publish func() error) error {
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { errs[i] = publish() })
	}
	group.Wait()
	return errors.Join(errs...)
}

// rawNats does what a careful user of the client does: asynchronous publishing
// with confirmations, and a pull consumer that acknowledges each message.
func rawNats(publishers, batch int) func(context.Context, *nats.Conn) (float64, error) {
	return func(ctx context.Context, nc *nats.Conn) (float64, error) {
		js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
		if err != nil {
			return 0, err
		}
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "bench", Subjects: []string{"bench"}}); err != nil {
			return 0, err
		}
		consumer, err := js.CreateConsumer(ctx, "bench", jetstream.ConsumerConfig{
			Durable: "sink", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: -1,
		})
		if err != nil {
			return 0, err
		}
		handled := newCounter(natsMessages)
		consuming, err := consumer.Consume(func(m jetstream.Msg) {
			if m.Ack() == nil {
				handled.add()
			}
		}, jetstream.PullMaxMessages(window))
		if err != nil {
			return 0, err
		}
		defer consuming.Stop()
		began := time.Now()
		err = inParallel(publishers, func() error { return rawPublish(ctx, js, natsMessages/publishers, batch) })
		if err == nil {
			err = handled.wait(ctx)
		}
		return natsMessages / time.Since(began).Seconds(), err
	}
}

func rawPublish(ctx context.Context, js jetstream.JetStream, n, batch int) error {
	futures := make([]jetstream.PubAckFuture, 0, batch)
	for i := range n {
		f, err := js.PublishMsgAsync(rawMessage(), jetstream.WithStallWait(time.Minute))
		if err != nil {
			return err
		}
		if futures = append(futures, f); len(futures) < batch && i < n-1 {
			continue
		}
		for _, f := range futures {
			select {
			case <-f.Ok():
			case err := <-f.Err():
				return fmt.Errorf("publish: %w", err)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		futures = futures[:0]
	}
	return nil
}

// rawMessage carries the headers that an envelope has.
func rawMessage() *nats.Msg {
	id := envelope.NewID()
	return &nats.Msg{Subject: "bench", Data: body, Header: nats.Header{
		"ce-specversion": {"1.0"}, "ce-id": {id}, "ce-source": {"/bench"}, "ce-type": {"bench.message"},
		"ce-schemaversion": {"1"}, "ce-time": {time.Now().UTC().Format(time.RFC3339Nano)},
		"ce-datacontenttype": {"application/json"}, "ce-correlationid": {id}, "ce-causationid": {id},
		"ce-hops": {"1"}, "ce-subject": {"bench"}, nats.MsgIdHdr: {id},
	}}
}
