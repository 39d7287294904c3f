// Package integration holds tests of whole apps over real transports: what the
// contract promises to a handler, one test for each sentence of it, on every
// backend. The suites of the layers are elsewhere; here nothing is faked but the
// accidents.
//
// A backend is one line in the table of backend_test.go, a broker that accidents
// happen to one in broker_test.go. Where a kind does not declare what a scenario
// needs, that is skipped and says what is missing, in the words of
// transport/drivertest. Tests wait for conditions, never for times.
// ANYWIRE_TEST_FULL=1 runs them longer.
package integration
