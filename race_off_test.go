//go:build !race

package anywire_test

const raceDetector = false
