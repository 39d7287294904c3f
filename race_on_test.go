//go:build race

package anywire_test

// raceDetector makes pools forget at random, so allocations are looser.
const raceDetector = true
