//go:build !explore

package wait

// mostSeats is how many goroutines of a process may sleep on futexes where they have bells.
const mostSeats = 1
