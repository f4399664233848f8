//go:build explore

package wait

// mostSeats is none, so that what has bells is explored with them.
const mostSeats = 0

// QuietMost as in other builds; but as a rule no request to fence is taken back, or each at once, so that no state is
// in a counter.
var QuietMost = uint32(1 << 31)
