// Package wordlock is the robust lock word: mutual exclusion among the processes of a domain, and
// among their goroutines, that passes on when the kernel proves its owner dead and never otherwise.
//
// A lock is a record of 128 bytes in shared memory; its state is the first word: 0 is free, else the
// owner's token, with bit 31 set while somebody may sleep on the word. The rest only tells people
// who holds it and who waits. Deaths leave the word holding a dead token, which the next one
// replaces by its own with one CAS, and is told.
package wordlock
