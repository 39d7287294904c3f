// Package router decides what a message means to an agent: whether it is
// handled, how often, where its outputs go, and what becomes of it when it
// cannot be handled. It is untyped; the root package puts types around it and
// fills it from a configuration.
//
//	r := router.New(&router.Options{
//		Route: func(string) (*transport.Transport, error) { return t, nil },
//		Agents: []router.Agent{{
//			Name: "upper", Transport: t, Topic: "in", Produces: "out",
//			Routes: []router.Route{{Handle: upper}},
//		}},
//	})
//	err := r.Run(ctx) // blocks; nil after a clean drain
//
// # One fixed order
//
// Every delivery passes the same steps: decoded? → expired? → below the hop
// limit? → a known type and version? → the attempt (deadline, recovered panic,
// middleware, handler) → its outputs are published and confirmed → it is
// settled. Users never order middlewares to get correctness.
//
// # Failure
//
// A message that fails takes one of four ways: it waits in its lane, it is
// delivered again after a delay, it goes to the agent's dead letters, or, when
// the process shuts down, it is handed back. [envelope.Reject] and
// [envelope.RetryAfter] choose; everything else is retried by [Policy]. An
// original is settled only after its dead letter is stored. Outputs that cannot
// be published are retried without running the handler again.
//
// # Bounds
//
// No goroutine and no timer is made per message. A handler that ignores the end
// of its context keeps its slot; after [Grace] it counts as abandoned, which
// is logged once and [Router.Health] shows.
package router
