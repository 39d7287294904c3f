package memory

import "github.com/anywire/anywire/transport"

// Kind is `kind: memory` of a configuration: [Open] with the entry's keys as
// [Options].
func Kind() transport.Kind { return transport.NewKind("memory", Capabilities, Open) }
