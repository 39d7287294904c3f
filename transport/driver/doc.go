// Package driver is all that the author of a broker driver writes: [Driver] and
// [Source], four methods each, over plain headers and bytes.
//
// A driver moves messages and says honestly what the broker can do
// ([Capabilities]). It knows nothing of envelopes, handlers, retries, windows or
// order between keys: package transport does all of that, once, for every
// broker. A driver must therefore never settle by itself, never retry a publish
// whose confirmation was lost, never drop what it cannot read, and never hide an
// error.
//
// Optional abilities are the interfaces in this package that the engine probes
// for: [Leaser], [Admin], [Browser], [Lagger], [Pinger], [Inspector],
// [ShardPauser], [Teller], [LossTeller].
//
// Package transport/drivertest proves a driver against this contract.
package driver
