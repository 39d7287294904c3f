// Package anywire runs agents: functions over typed messages whose transport is
// chosen in a configuration file and never in code. The same handlers run in one
// process over memory, and in twenty over a broker.
//
// A message is a type that says its name and version:
//
//	type Task struct{ Topic string }
//
//	func (Task) WireType() string { return "research.task@1" }
//
// An agent is a function from one message to another:
//
//	func research(ctx context.Context, t Task) (Facts, error) { … }
//
//	func main() {
//		app := anywire.New(all.Options())          // every transport is linked
//		anywire.Handle(app, "researcher", research)
//		anywire.Handle(app, "writer", write)
//		app.Main()                                  // -c anywire.yaml, signals, exit codes
//	}
//
// and anywire.yaml says who reads what:
//
//	version: 1
//	agents:
//	  researcher: { consumes: tasks.research, produces: tasks.write }
//	  writer: { consumes: tasks.write, produces: briefs }
//
// [Handle] registers a function that answers, [Consume] one that does not, and
// [App.HandleEnvelope] one over untyped envelopes. Whatever else an attempt may
// do hangs on its context: [Envelope] shows the message's attributes, [Emit] adds
// outputs. A handler takes no object of this package, so a unit test calls it as
// the function that it is; where it emits, package anywiretest has a context.
//
// # What a handler can rely on
//
// A message whose publish returned nil is handled at least once: until the
// handler succeeds, the message expires, or it is stored among the agent's dead
// letters. A slow handler keeps its message. Outputs are published and confirmed
// before the input is settled. Everything that is bounded stays so however long
// the backlog is.
//
// # Errors
//
// A handler's error is retried by the agent's policy; [Reject] makes it final,
// [RetryAfter] names the wait, a panic is an error. Errors of this module are
// [*Error] with a [Code], and the code is an error itself:
//
//	if errors.Is(err, anywire.TooLarge) { … }
//
// Mistakes at registration panic, naming both places; everything that comes from
// configuration is reported by [App.Validate], all at once.
//
// # Lifecycle
//
// [New] starts nothing and cannot fail. [App.Publish] works from then on and
// opens transports as it needs them. [App.Run] validates, runs until its context
// ends, and drains: it stops fetching, hands back what has not started, lets
// handlers finish, publishes, settles, and closes what it opened. [App.Close]
// drops everything at once. An App is safe for concurrent use, apart from its
// registration.
package anywire
