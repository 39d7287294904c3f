//go:build race

package integration

// raceDetector watches the code of Watermill's tests, too.
const raceDetector = true
