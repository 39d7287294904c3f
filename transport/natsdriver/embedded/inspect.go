package embedded

import (
	"context"
	"fmt"
	"net"
	"os"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/transport/driver"
)

var _ driver.Inspector = (*Driver)(nil)

// Inspect looks at the options, the folder and its disk, and, as natsdriver
// does, at streams and consumers.
func (d *Driver) Inspect(ctx context.Context, use driver.Use) ([]driver.Finding, error) {
	found := d.host.o.Look()
	if trouble := d.host.trouble(); trouble != nil {
		return append(found, driver.Finding{ //nolint:nilerr // the trouble is what was found
			Level: driver.Danger, Check: "folder", Subject: d.host.o.Dir, Found: "cannot be written", Why: trouble.Error(),
			Fix: "make room or mend the folder's rights: the transport goes on by itself",
		}), nil
	}
	more, err := d.Driver.Inspect(ctx, use)
	return append(found, more...), err
}

// Look is the part of an inspection that needs no open folder: it may be another
// process's.
func (o Options) Look() []driver.Finding {
	o = o.withDefaults()
	p, err := o.plan()
	if err != nil {
		return []driver.Finding{{
			Level: driver.Danger, Check: "options", Subject: o.Dir, Found: "not valid", Why: err.Error(), Fix: "correct the transport's entry",
		}}
	}
	return []driver.Finding{o.lookAtSync(p), o.lookAtDisk(), o.lookAtListen(p)}
}

func (o Options) lookAtSync(p plan) driver.Finding {
	f := driver.Finding{Check: "sync", Subject: o.Dir, Found: o.Sync}
	if p.interval > 0 {
		f.Level = driver.Warning
		f.Why = fmt.Sprintf("a loss of power takes up to the last %v of confirmed messages with it (the death of the process takes none)",
			p.interval)
		f.Fix = "set sync: always, which confirms a message after it is on the disk; publishing is then some fifteen times slower"
	}
	return f
}

// Rooms of a disk below which an inspection speaks up.
const (
	littleRoom = 1 * value.GiB
	noRoom     = 100 * value.MiB
)

func (o Options) lookAtDisk() driver.Finding {
	f := driver.Finding{Check: "disk", Subject: o.Dir}
	if _, err := os.Stat(o.Dir); err != nil {
		f.Found = "the folder does not exist yet, it is made on first use"
		return f
	}
	free, err := freeBytes(o.Dir)
	if err != nil {
		f.Level, f.Found, f.Why, f.Fix = driver.Unknown, "not readable", err.Error(), "look at the free space yourself"
		return f
	}
	return roomOf(o.Dir, free)
}

// roomOf judges what is left on the disk of a folder.
func roomOf(dir string, free uint64) driver.Finding {
	f := driver.Finding{Check: "disk", Subject: dir, Found: fmt.Sprintf("%v free", value.Size(free>>20)*value.MiB)}
	switch {
	case free < uint64(noRoom):
		f.Level = driver.Danger
	case free < uint64(littleRoom):
		f.Level = driver.Warning
	default:
		return f
	}
	f.Why = "when the disk is full, publishing fails and agents stand still; nothing that was confirmed is lost"
	f.Fix = "make room, move dir to a larger disk, or shorten the retention of topics"
	return f
}

func (o Options) lookAtListen(p plan) driver.Finding {
	f := driver.Finding{Check: "listen", Subject: o.Dir, Found: "no port is opened"}
	if o.Listen == "" {
		return f
	}
	f.Found = o.Listen
	if ip := net.ParseIP(p.host); p.host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		f.Level = driver.Warning
		f.Why = "everybody who reaches the address may read and write every message: there is no authentication"
		f.Fix = "listen at 127.0.0.1, or run a NATS server with users and use kind: nats"
	}
	return f
}
