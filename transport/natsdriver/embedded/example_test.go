package embedded_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/natsdriver/embedded"
)

// A message stays in the folder until somebody has settled it, across runs of
// the program.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()

	firstRun, err := embedded.Open(ctx, embedded.Options{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = firstRun.Publish(ctx, "tasks.research", []*driver.Message{{Body: []byte("postgres 17")}})
	fmt.Println("published:", err)
	fmt.Println("closed:", firstRun.Close(ctx))

	secondRun, err := embedded.Open(ctx, embedded.Options{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = secondRun.Close(ctx) }()
	src, err := secondRun.Subscribe(ctx, driver.Subscription{
		Topic: "tasks.research", Group: "researchers", Window: 16, Lease: 30 * time.Second,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = src.Close(ctx) }()
	msgs, err := src.Receive(ctx, 16)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("received: %s\n", msgs[0].Body)
	fmt.Println("settled:", src.Settle(ctx, []driver.Settlement{{Token: msgs[0].Token}}))

	// Output:
	// published: <nil>
	// closed: <nil>
	// received: postgres 17
	// settled: <nil>
}
