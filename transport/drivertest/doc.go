// Package drivertest is the conformance suite for broker drivers: every sentence
// of the contract in package driver that a driver can break is one named case.
//
// A driver's author writes one test and one benchmark:
//
//	func harness() drivertest.Harness {
//		declared := mydriver.Capabilities(mydriver.Options{})
//		return drivertest.Harness{
//			Open: func(tb testing.TB) driver.Driver {
//				d, err := mydriver.Open(tb.Context(), mydriver.Options{URL: brokerURL(tb)})
//				if err != nil {
//					tb.Fatal(err)
//				}
//				return d
//			},
//			Declared: &declared,
//		}
//	}
//
//	func TestConformance(t *testing.T) { drivertest.Run(t, harness()) }
//
//	func BenchmarkDriver(b *testing.B) { drivertest.Benchmark(b, harness()) }
//
// [Run] makes one subtest per case, named theme/what, so that a single one can
// be chosen with -run 'TestConformance/settle/stale'. Every case opens a driver
// of its own and works on topics and groups with unique names, so one broker
// may serve all of them, also those of other processes. The suite closes what it
// opened.
//
// # What is skipped
//
// [driver.Capabilities], the optional interfaces of package driver and the
// optional functions of [Harness] decide which cases apply. Nothing is skipped
// in silence: each skip has a reason, and Run ends with one line that counts
// them. A known defect is named in Harness.Skip, with its reason.
//
// # What is tolerated
//
// Delivery is at least once: a message may come more than once unless the
// contract says otherwise, for instance after a confirmed [driver.Ack]. Nothing
// is expected at once: a case waits on a condition for at most Harness.Patience,
// and takes what has not happened within Harness.Quiet as not happening. Errors
// of Receive that the contract calls passing are logged and Receive is called
// again, as the engine does.
//
// # Documentation
//
// [Cases] lists the cases with the sentence that each one proves and what it
// needs, so that tables in the documentation can be generated.
package drivertest
