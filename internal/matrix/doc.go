// Package matrix keeps the table of what each transport can do: docs/transports.json,
// which is what the conformance suite found out, and docs/transports.md, which is
// made of it.
//
// Command testsum collects the reports that transport/drivertest logs during
// make test, and [Matrix.Check] compares them with the file: a driver that claims
// something else than the table says, or skips other cases, is red. make matrix
// writes both files anew.
package matrix
