package envelope_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/anywire/anywire/envelope"
)

// Task is a message: any type that says its wire type.
type Task struct {
	Topic string `json:"topic"`
}

func (Task) WireType() string { return "research.task@1" }

func ExampleNew() {
	e, err := envelope.New(Task{Topic: "postgres 17"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(e.WireType(), e.ContentType, string(e.Data))
	fmt.Println("begins a conversation:", e.CorrelationID == e.ID)

	var task Task
	if err := e.Decode(&task); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(task.Topic)
	// Output:
	// research.task@1 application/json {"topic":"postgres 17"}
	// begins a conversation: true
	// postgres 17
}

func ExampleNew_options() {
	e, err := envelope.New(Task{Topic: "postgres 17"},
		envelope.WithKey("customer-42"),
		envelope.WithExtension("tenant", "acme"),
		envelope.WithExpiry(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(e.Key, e.Extensions["tenant"], e.Expires)

	_, err = envelope.New(Task{}, envelope.WithExtension("Tenant", "acme"))
	fmt.Println(errors.Is(err, envelope.Invalid), err)
	// Output:
	// customer-42 acme 2030-01-01 00:00:00 +0000 UTC
	// true extension name "Tenant" has characters other than a-z and 0-9
}

func ExampleBinding() {
	nats := envelope.NATS() // once; it is immutable
	e, err := envelope.New(Task{Topic: "postgres 17"},
		envelope.WithID("1"), envelope.WithSource("/agents/editor"), envelope.WithSubject("Euro € 😀"))
	if err != nil {
		fmt.Println(err)
		return
	}
	e.Time = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	headers := nats.Encode(nil, e)
	for _, h := range headers {
		fmt.Printf("%s: %s\n", h.Name, h.Value)
	}

	var back envelope.Envelope
	if err := nats.Decode(headers, e.Data, &back); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(back.Subject, string(back.Data))
	// Output:
	// ce-specversion: 1.0
	// ce-id: 1
	// ce-source: /agents/editor
	// ce-type: research.task
	// ce-schemaversion: 1
	// ce-time: 2026-03-14T15:09:26Z
	// ce-datacontenttype: application/json
	// ce-subject: Euro%20%E2%82%AC%20%F0%9F%98%80
	// ce-correlationid: 1
	// Euro € 😀 {"topic":"postgres 17"}
}

func ExampleUnmarshalStructured() {
	e, err := envelope.UnmarshalStructured([]byte(`{
		"specversion": "1.0", "id": "1", "source": "/shop", "type": "com.example.OrderPlaced",
		"tenant": "acme", "data": {"order": 7}
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(e.WireType(), e.Extensions["tenant"], string(e.Data))
	// Output:
	// com.example.OrderPlaced@1 acme {"order": 7}
}

func ExampleReject() {
	handle := func(t Task) error {
		if t.Topic == "" {
			return envelope.Reject(errors.New("task has no topic"))
		}
		return envelope.RetryAfter(time.Minute, errors.New("the model is busy"))
	}
	err := handle(Task{})
	fmt.Println(errors.Is(err, envelope.Rejected), err)
	err = handle(Task{Topic: "postgres 17"})
	fmt.Println(errors.Is(err, envelope.Retry), err)
	// Output:
	// true rejected: task has no topic
	// true retry after 1m0s: the model is busy
}

// A topic that plain clients write to says of which type their messages are.
func ExamplePlain() {
	plain, err := envelope.NewPlain(envelope.Kafka(), "tasks.research", "research.task@1", false)
	if err != nil {
		fmt.Println(err)
		return
	}
	var e envelope.Envelope
	err = plain.Decode([]envelope.Header{
		{Name: "_watermill_message_uuid", Value: "8f1c"},
		{Name: "correlation_id", Value: "c-7"},
		{Name: "Tenant-ID", Value: "acme"},
	}, []byte(`{"topic":"postgres 17"}`), "0/42", &e)
	fmt.Println(e.ID, e.Source, e.WireType(), e.CorrelationID, e.Metadata()["Tenant-ID"], err)
	// Output:
	// 8f1c /topics/tasks.research research.task@1 c-7 acme <nil>
}
