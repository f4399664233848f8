package bell

import "sync/atomic"

// CountRescues has the lookouts of this process count what they see first: wake-ups that were lost, and some that
// were just on their way.
func CountRescues() (n *atomic.Int64) {
	n = new(atomic.Int64)
	rescuing = func() { n.Add(1) }
	return n
}
