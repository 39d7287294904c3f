// Package anywiretest is for tests of agents.
//
// A handler is a plain function, so most tests just call it. One that emits gets
// its context from [Context], and [Emitted] shows what it emitted:
//
//	ctx := anywiretest.Context(t)
//	err := split(ctx, Document{Body: "…"})
//	chunks := anywiretest.Emitted[Chunk](t, ctx)
//
// Agents together are tested over memory, through the constructor that main
// calls as well:
//
//	w := anywiretest.Start(t, newsroom, &anywiretest.Options{Config: cfg})
//	w.Publish("tasks.research", Task{"postgres 17"})
//	facts := anywiretest.Next[Facts](w, "tasks.write")
//
// Nothing sleeps: [Next] waits for its message, up to [Options.Patience]. It all
// works inside a testing/synctest bubble, where backoffs and timeouts then take
// no time.
package anywiretest
