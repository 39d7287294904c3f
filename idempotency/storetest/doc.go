// Package storetest is the conformance suite for idempotency stores: every
// sentence of the contract of [idempotency.Store] that a store can break is one
// named case.
//
// A store's author writes one test:
//
//	func TestConformance(t *testing.T) {
//		storetest.Run(t, storetest.Harness{
//			Name: "mine",
//			Open: func(tb testing.TB) idempotency.Store {
//				s, err := mystore.Open(tb.Context(), mystore.Options{URL: serverURL(tb)})
//				if err != nil {
//					tb.Fatal(err)
//				}
//				return s
//			},
//		})
//	}
//
// [Run] makes one subtest per case, named theme/what, so that a single one can
// be chosen with -run 'TestConformance/lease/takeover'. Every case works in a
// scope of its own, so one server may serve all of them, also those of other
// processes. The suite closes what it opened.
//
// # Processes
//
// Each call of Harness.Open stands for another process, with its own view of the
// same records. A process that dies is one whose view is not used any more:
// whatever a case wants to know of it after that, it asks another view.
//
// # What is skipped
//
// The optional interfaces of package idempotency and the optional fields of
// [Harness] decide which cases apply. Nothing is skipped in silence: each skip
// has a reason, and Run ends with one line that counts them. A known defect is
// named in Harness.Skip, with its reason.
//
// # What is tolerated
//
// Clocks and answers are slow: a record may be taken over later than its lease
// ends, and kept for longer than its TTL. A case waits for at most
// Harness.Patience. A store may keep only the first half of a fingerprint, and
// milliseconds of the time that a handler ran.
//
// # Documentation
//
// [Cases] lists the cases with the sentence that each one proves and what it
// needs.
package storetest
