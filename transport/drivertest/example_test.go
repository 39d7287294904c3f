package drivertest_test

import (
	"fmt"
	"strings"

	"github.com/anywire/anywire/transport/drivertest"
)

// Documentation can list what a theme proves, and what it needs.
func ExampleCases() {
	for _, c := range drivertest.Cases() {
		if strings.HasPrefix(c.Name, "takeover/killed") {
			fmt.Printf("%s %v\n  %s\n", c.Name, c.Needs, c.Sentence)
		}
	}
	// Output:
	// takeover/killed [Harness.Kill]
	//   What a dead member held becomes available to others when its lease ends.
	// takeover/killed-keeps-acks [Harness.Kill]
	//   Settle returns when the broker has confirmed: a death afterwards brings nothing back.
	// takeover/killed-publisher [Harness.Kill Durable]
	//   Durable: messages survive the death of every client process.
}
