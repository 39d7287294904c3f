// Package chaos tries to break what anywire promises: it runs a workload of
// three agents in several processes over a real broker and a real store, does to
// both what happens in production, and checks afterwards that nothing was lost,
// nothing took effect twice, and every key kept its order.
//
//	make chaos SECONDS=600 SEEDS=1,2 TRANSPORTS=redis,kafka
//
// # Workload
//
//	chaos.in ─▶ intake ─(two parts of each)─▶ refine ─▶ sink ─▶ a service that takes effects
//
// The integers 1..N of each of K keys pass three hops, with a fan-out and a fan-in
// by key. What agents answer differs from attempt to attempt, as what a model
// says: a message that is handled twice makes two effects. The service stands for
// one that takes an idempotency key.
//
// # Faults
//
// Workers are killed, ended, stopped for longer than their lease, and end
// themselves at the points where a crash hurts most; brokers are killed and
// stopped; connections are cut and swallowed. Which and when follows from a seed.
// Then everything heals, and the work has to end.
//
// # Checker
//
// Every process appends JSON lines to a history, one write for each, so that a
// kill loses none. [Check] judges it, and is tested with planted faults. A run
// that did not hit every crash point is void, and negative controls, which break
// one mechanism each, must be found.
package chaos
