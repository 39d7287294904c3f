// Package embedded is a durable transport that needs no server: it runs NATS
// JetStream inside the process and keeps its files in one folder.
//
//	d, err := embedded.Open(ctx, embedded.Options{Dir: "./data"})
//	...
//	t := transport.New(d, &transport.Options{OwnsDriver: true})
//
// Topics, groups and guarantees are those of package natsdriver, which does the
// work; no port is opened unless Options.Listen says so.
//
// # Durability
//
// With sync always, the default, a publish is confirmed after its bytes are on the
// disk: it survives the loss of power. With sync 1s they are written to the disk
// once a second: publishing is some fifteen times faster, and a loss of power
// takes the last second of confirmed messages with it; the death of the process
// takes none in either case.
//
// Acknowledgements are written ten times a second, whatever sync says. A process
// that is killed may get the last tenth of a second of what it had acknowledged
// again: delivery is at least once.
//
// # One owner
//
// A folder has one owner, who holds a lock on it. A second process gets an error
// that names the owner. What a process held when it died is therefore delivered
// again at once, and its leases are over, as soon as the folder is opened again,
// unless it listened: then others may still work on what they hold, and leases end
// in their own time.
//
// With Listen, other processes and the command line attach by transport kind nats
// at that address.
//
// # A full disk
//
// A publish that finds no room fails and says so. Nothing that was confirmed is
// lost. The server stops, looks twice a second whether there is room, and goes on
// when there is.
package embedded
