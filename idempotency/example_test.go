package idempotency_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

// The same message three times: the handler runs once, and every delivery gets
// the same outputs, ids included.
func ExampleMiddleware() {
	store := idempotency.NewMemory(nil)
	receipts := 0
	charge := func(_ context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
		receipts++
		fmt.Println("charged", in.ID)
		out := &envelope.Envelope{ID: fmt.Sprint("receipt-", receipts), Source: "/agents/charger", Type: "receipt", SchemaVersion: 1}
		return []*envelope.Envelope{out}, nil
	}
	handler := idempotency.Middleware(store, &idempotency.Options{System: "shop", Group: "charger"})(charge)

	order := &envelope.Envelope{ID: "order-7", Source: "/shop", Type: "order", SchemaVersion: 1, Data: []byte(`{"cents":4200}`)}
	for range 3 {
		outs, err := handler(context.Background(), order)
		fmt.Println(outs[0].ID, err)
	}

	changed := *order
	changed.Data = []byte(`{"cents":1}`)
	_, err := handler(context.Background(), &changed)
	fmt.Println(errors.Is(err, envelope.KeyReused))
	// Output:
	// charged order-7
	// receipt-1 <nil>
	// receipt-1 <nil>
	// receipt-1 <nil>
	// true
}

// What an attempt has paid for is there for the next one.
func ExampleStep() {
	attempts := 0
	answer := func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
		attempts++
		summary, err := idempotency.Step(ctx, "summary", func(context.Context) (string, error) {
			fmt.Println("the model is called")
			return "All is well.", nil
		})
		if err != nil {
			return nil, err
		}
		if attempts == 1 {
			return nil, errors.New("the connection is gone")
		}
		fmt.Printf("attempt %d: %s\n", attempts, summary)
		return nil, nil
	}
	handler := idempotency.Middleware(idempotency.NewMemory(nil), nil)(answer)

	question := &envelope.Envelope{ID: "1", Source: "/desk", Type: "question", SchemaVersion: 1}
	for range 2 {
		_, err := handler(context.Background(), question)
		fmt.Println("error:", err)
	}
	// Output:
	// the model is called
	// error: the connection is gone
	// attempt 2: All is well.
	// error: <nil>
}

// A payment service that takes an idempotency key charges once, although the
// handler starts twice.
func ExampleEffectKey() {
	charged := map[string]int{}
	pay := func(key string, cents int) {
		if _, again := charged[key]; !again {
			charged[key] = cents
		}
	}
	attempts := 0
	charge := func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
		attempts++
		pay(idempotency.EffectKey(ctx, "charge"), 4200)
		if attempts == 1 {
			return nil, errors.New("it died before it could answer")
		}
		pay(idempotency.EffectKey(ctx, "fee"), 30)
		return nil, nil
	}
	handler := idempotency.Middleware(idempotency.NewMemory(nil), nil)(charge)

	order := &envelope.Envelope{ID: "order-7", Source: "/shop", Type: "order", SchemaVersion: 1}
	for range 2 {
		_, _ = handler(context.Background(), order)
	}
	total := 0
	for _, cents := range charged {
		total += cents
	}
	fmt.Println(attempts, "attempts,", len(charged), "payments,", total, "cents")
	// Output: 2 attempts, 2 payments, 4230 cents
}
