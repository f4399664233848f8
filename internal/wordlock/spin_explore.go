//go:build explore

package wordlock

// Spinning adds looks at the word, of which the others are enough to explore.
func (l *Lock) spin() bool { return false }
