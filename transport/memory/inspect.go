package memory

import (
	"context"

	"github.com/anywire/anywire/transport/driver"
)

var _ driver.Inspector = (*Broker)(nil)

// Inspect says what memory is: there is nothing that could be set wrongly.
func (b *Broker) Inspect(ctx context.Context, _ driver.Use) ([]driver.Finding, error) {
	if err := b.Ping(ctx); err != nil {
		return nil, err
	}
	found := []driver.Finding{{
		Level: driver.Warning, Check: "durability", Subject: "broker", Found: "this process's memory",
		Why: "messages live and die with the process: a restart loses what is not handled, and dead letters",
		Fix: "use kind: embedded for messages that survive, without a server, or a broker for several processes",
	}}
	if b.paranoia.on {
		found = append(found, driver.Finding{
			Level: driver.Warning, Check: "paranoid", Subject: "broker", Found: "on",
			Why: "messages are doubled, delayed and reordered on purpose", Fix: "remove paranoid outside of tests",
		})
	}
	return found, nil
}
