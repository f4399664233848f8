//go:build !explore

package wait

// mostSeats is how many goroutines of a process may sleep on futexes where they have bells.
const mostSeats = 4

// QuietMost is how often a process fences for nobody before it takes the request to fence back. So many full fences cost
// about what the heavy fence of the next sleeper does.
const QuietMost = 500
