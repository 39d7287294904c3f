package watermillredis

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/anywire/anywire/transport/driver"
)

var _ driver.Inspector = (*Driver)(nil)

// Inspect looks at what decides whether messages survive, and at the keys where
// the streams of use should be. A native transport of kind redis on the same
// server looks at more.
func (d *Driver) Inspect(ctx context.Context, use driver.Use) ([]driver.Finding, error) {
	if err := d.Ping(ctx); err != nil {
		return nil, err
	}
	found := []driver.Finding{d.durability(ctx), d.eviction(ctx)}
	if d.o.MaxLen > 0 {
		found = append(found, driver.Finding{
			Level: driver.Warning, Check: "max_len", Subject: "transport", Found: fmt.Sprint(d.o.MaxLen),
			Why: "older entries are trimmed, whether every group has read them or not",
			Fix: "leave max_len out, or make it larger than any backlog",
		})
	}
	for _, topic := range topicsOf(use) {
		found = append(found, d.stream(ctx, topic))
	}
	return found, nil
}

func topicsOf(use driver.Use) []string {
	names := slices.Clone(use.Writes)
	for _, r := range use.Reads {
		names = append(names, r.Topic)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (d *Driver) durability(ctx context.Context) driver.Finding {
	f, value := d.setting(ctx, "appendonly")
	if value == "no" {
		f.Level, f.Why, f.Fix = driver.Danger, "a crash loses every message since the last snapshot, confirmed or not", "appendonly yes"
	}
	return f
}

func (d *Driver) eviction(ctx context.Context) driver.Finding {
	f, value := d.setting(ctx, "maxmemory-policy")
	if strings.HasPrefix(value, "allkeys-") {
		f.Level, f.Why, f.Fix = driver.Danger, "when memory is full whole streams vanish, read or not", "maxmemory-policy noeviction"
	}
	return f
}

func (d *Driver) setting(ctx context.Context, name string) (f driver.Finding, value string) {
	f = driver.Finding{Check: name, Subject: "server"}
	all, err := d.client.ConfigGet(ctx, name).Result()
	if err != nil || all[name] == "" {
		f.Level, f.Found, f.Why = driver.Unknown, "not readable", "the user may not call CONFIG GET"
		f.Fix = "look at CONFIG GET " + name + " with another user"
		return f, ""
	}
	f.Found = all[name]
	return f, all[name]
}

func (d *Driver) stream(ctx context.Context, topic string) driver.Finding {
	f := driver.Finding{Check: "stream", Subject: "topic " + topic}
	kind, err := d.client.Type(ctx, topic).Result()
	switch {
	case err != nil:
		f.Level, f.Found, f.Why = driver.Unknown, "not readable", wrap(err).Error()
	case kind == "none":
		f.Found = "missing: created when it is used first"
	case kind == "stream":
		f.Found = "there"
	default:
		f.Level, f.Found = driver.Danger, "a "+kind
		f.Why, f.Fix = "a key of another type stands where the topic's stream should", "delete or rename one of them"
	}
	return f
}
