//go:build explore

package wait

// mostSeats is none, so that what has bells is explored with them.
const mostSeats = 0
