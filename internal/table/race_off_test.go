//go:build !race

package table

const slowdown = 1 // of tests that take long under the race detector
