package bell

import "github.com/shiplap-ipc/shiplap/internal/segment"

// A FIFO that somebody deleted, or replaced by something else, is still rung by those that have opened it, and by
// nobody else. So the lookout makes sure that the name leads to the FIFO, and otherwise gives it up; the next
// sleeper makes another one.
//
// The rings in the old one are lost. So all sleepers are woken once no more can be written into it: from then on, a
// waker opens the new one, or knows that it has woken nobody. All get new places: a goroutine that leaves its place
// after a waker has counted on it has the place expect a ring, which would be one of those that are lost.

// isLost reports that others cannot find the FIFO. In a directory that is deleted itself nobody looks for it. b.mu is held.
func (f *fifo) isLost(b *Bell) bool {
	if f.file == nil || b.dir.LeadsToFIFO(f.file.Name(), f.fd) != segment.Gone {
		return false
	}
	at, err := b.dir.Stamp()
	return err == nil && !at.Deleted
}

// replace gives up a FIFO that is lost.
func (b *Bell) replace() {
	b.mu.Lock()
	if b.closed || len(b.parked) == 0 || !b.own.isLost(b) {
		b.mu.Unlock()
		return
	}
	file := b.own.detach()
	b.replacing = true
	b.mu.Unlock()
	file.Close() // without the mutex, as in Close; the leader's wait ends
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replacing = false
	clear(b.places)
	for _, p := range b.tickets {
		for s := p.first; s != nil; s = s.next {
			s.rung = true // if it is not parked yet, it need not be
		}
	}
	for _, s := range b.parked {
		b.resume(s)
	}
}
