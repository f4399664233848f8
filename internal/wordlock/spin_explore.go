//go:build explore

package wordlock

const hungry = 1

// Spinning adds looks at the word, of which the others are enough to explore.
func (l *Lock) spin() bool { return false }
