package natsdriver

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// GaveBack reports whether the driver ever gave back a delivery to come again at
// once. The server keeps that in memory only: one that ends forgets it, and the
// delivery waits for the end of its lease, unless somebody calls Reclaim.
func (d *Driver) GaveBack() bool { return d.gave.Load() }

// Reclaim gives back every delivery that is not settled, of all groups, and ends
// all leases, so that what a dead process held comes at once. It is for a server
// that nobody else uses at that moment, such as an embedded one at its start:
// what other processes work on would be done twice. A redelivery that was to wait
// comes early.
func (d *Driver) Reclaim(ctx context.Context) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	streams := d.js.ListStreams(ctx)
	for info := range streams.Info() {
		if info.Config.Metadata[metaTopic] == "" {
			continue
		}
		if err := d.reclaimStream(ctx, info.Config.Name); err != nil {
			return fmt.Errorf("reclaim deliveries of topic %q: %w", info.Config.Metadata[metaTopic], wrap(err))
		}
	}
	if err := streams.Err(); err != nil {
		return fmt.Errorf("reclaim deliveries: %w", wrap(err))
	}
	return d.endLeases(ctx)
}

func (d *Driver) reclaimStream(ctx context.Context, name string) error {
	stream, err := d.js.Stream(ctx, name)
	if err != nil {
		return err
	}
	consumers := stream.ListConsumers(ctx)
	for info := range consumers.Info() {
		if info.Config.AckPolicy != jetstream.AckExplicitPolicy || info.Config.Metadata[metaGroup] == "" {
			continue
		}
		if err := d.handBackOthers(ctx, info, func(uint64) bool { return false }); err != nil {
			return err
		}
	}
	return consumers.Err()
}

func (d *Driver) endLeases(ctx context.Context) error {
	kv, err := d.bucket(ctx)
	if err != nil {
		return err
	}
	keys, err := kv.ListKeys(ctx)
	if err != nil {
		return fmt.Errorf("end leases: %w", wrap(err))
	}
	for key := range keys.Keys() {
		if err := kv.Delete(ctx, key); err != nil {
			return fmt.Errorf("end lease %q: %w", key, wrap(err))
		}
	}
	return nil
}
