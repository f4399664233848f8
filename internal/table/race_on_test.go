//go:build race

package table

const slowdown = 10 // of tests that take long under the race detector
