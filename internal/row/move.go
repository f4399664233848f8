package row

import (
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// A move takes a record out of a queue with acknowledgement, the source, and puts it into another queue, the
// target, as one step: whenever a process dies, the record is in exactly one of the two. The commit point is
// that of the put.
//
// The mover has the consumer lock of the source, and within the move the producer lock of the target, which
// it only tries. It leaves two notes: in the source the word "moving", that a move of the record has begun;
// in the target an entry of the table of moves, which says where in the target the record will stand.
//
//	entry   meaning                          ends
//	free    no move, or nothing was put      –
//	begun   the put may have been committed  the mover, or whoever gets the producer lock after its death: arrived if
//	                                         the target has an end behind that place, else free
//	arrived the record is in the target      free, once the record is done in the source
//
// "begun" is never met by somebody who puts: the mover makes "seen" odd first, and a producer that finds it
// odd looks at the entries before it puts anything, for afterwards the end would say nothing.
//
//	the mover dies                           what the next one does
//	before "moving"                          nothing happened
//	before the commit                        the entry becomes free; "moving" goes; the record is that of a dead holder
//	after the commit                         the entry is arrived: the record becomes done, the entry free, "moving" goes
//	after the record is done                 the entry becomes free, "moving" goes
//
// The next one is whoever gets the consumer lock of the source; until the target can be looked at, which it
// may not be at once, nobody gets the record.
const (
	moveFree    = 0
	moveBegun   = 1
	moveArrived = 2

	moveFrom  = 0  // u64 the identity of the source
	movePos   = 8  // u64 the position of the record there
	moveAt    = 16 // u64 the position of the record in the target
	moveState = 24 // u64

	// MoveSize is the size of an entry, Moves the number of entries: of sources that can be in the middle of
	// a move to one target, by a living mover or a dead one.
	MoveSize = 32
	Moves    = 32
)

// arrivals is a target's table of moves.
type arrivals struct {
	span *mem.Span
	at   int
}

func (a arrivals) word(i, off int) *mem.U64 { return a.span.U64(a.at + i*MoveSize + off) }

// find is the entry of a move that is not free.
func (a arrivals) find(from, pos uint64) (i int, ok bool) {
	for i := range Moves {
		if a.word(i, moveState).Load() != moveFree && a.word(i, moveFrom).Load() == from && a.word(i, movePos).Load() == pos {
			return i, true
		}
	}
	return 0, false
}

// begin notes that a record will stand at a position. The producer lock is held, and seen is odd.
func (a arrivals) begin(from, pos, at uint64) (i int, ok bool) {
	for i := range Moves {
		if a.word(i, moveState).Load() == moveFree {
			a.word(i, moveFrom).StoreRelease(from)
			a.word(i, movePos).StoreRelease(pos)
			a.word(i, moveAt).StoreRelease(at)
			a.word(i, moveState).StoreRelease(moveBegun)
			return i, true
		}
	}
	return 0, false
}

// settle decides what became of moves that have begun. The producer lock is held, and nothing was put since.
func (a arrivals) settle(end uint64) {
	for i := range Moves {
		switch w := a.word(i, moveState); {
		case w.Load() != moveBegun:
		case int64(end-a.word(i, moveAt).Load()) > 0:
			w.StoreRelease(moveArrived)
		default:
			w.StoreRelease(moveFree)
		}
	}
}

// forget frees the entry of a move whose record is done.
func (a arrivals) forget(from, pos uint64) {
	if i, ok := a.find(from, pos); ok {
		a.word(i, moveState).StoreRelease(moveFree)
	}
}

// settleMoves is arrivals.settle for a producer that has found where the end is.
func (p *Producer) settleMoves() {
	if q := p.r.queue; q.arrivals.span != nil {
		q.arrivals.settle(p.pos)
	}
	p.r.seen.StoreRelease(p.freed)
}

// arrive puts a record of another queue. It does not wait: errs.ErrBusy if somebody has the producer lock,
// errs.ErrFull if there is no room now. It is told of a record that has arrived before. bits are those of the
// record's header that the payload is told by.
func (q *Queue) arrive(from, pos, bits uint64, payload []byte) error {
	if err := q.Fits(len(payload)); err != nil {
		return err
	}
	return q.producing(func(p *Producer) error {
		if _, ok := q.arrivals.find(from, pos); ok {
			return nil
		}
		if err := p.add(bits, payload); err != nil {
			return err
		}
		q.seen.StoreRelease(q.seen.Load() | 1)
		i, ok := q.arrivals.begin(from, pos, p.pos)
		if !ok {
			p.Drop()
			q.seen.StoreRelease(p.freed)
			return fmt.Errorf("%w: %d moves to this queue have not ended", errs.ErrFull, Moves)
		}
		if err := p.Commit(); err != nil {
			q.arrivals.word(i, moveState).StoreRelease(moveFree)
			q.seen.StoreRelease(p.freed)
			return err
		}
		q.arrivals.word(i, moveState).StoreRelease(moveArrived)
		q.seen.StoreRelease(p.freed)
		return nil
	})
}

// producing runs f with the producer lock if it is to be had, after a look at everything that others left.
func (q *Queue) producing(f func(p *Producer) error) error {
	if ok, _ := q.ProducerLock.TryLock(); !ok {
		return errs.ErrBusy
	}
	defer q.ProducerLock.Unlock()
	var p Producer
	if err := p.Resume(&q.Row); err != nil {
		return err
	}
	p.settleMoves()
	return f(&p)
}

// arrived reports whether a record has come here from another queue.
func (q *Queue) arrived(from, pos uint64) (yes bool, err error) {
	i, ok := q.arrivals.find(from, pos)
	if !ok || q.arrivals.word(i, moveState).Load() == moveArrived {
		return ok, nil
	}
	err = q.producing(func(*Producer) error {
		_, yes = q.arrivals.find(from, pos)
		return nil
	})
	return yes, err
}

// Target is where a record may go.
type Target struct {
	*Queue
	Name string
}

// mover is what a queue has for moves.
type mover struct {
	id       uint64 // of the object
	limit    uint64 // how often a record is handed out, 0 for no limit
	arrivals arrivals
	names    moveName

	moving, buried, dropped *mem.U64
	worn                    *mem.U32

	// Prepare is called before a record is leased, outside of the locks: it has at hand what Bury and Reach
	// need.
	Prepare func()
	// Bury calls move with the place where a record goes that was handed out as often as it may be, and
	// returns its error; or another, if that place cannot be had now. Without Bury such records are dropped.
	Bury func(move func(Target) error) error
	// Reach calls look with the target of a move that a dead process left; without a queue if that is gone.
	// It returns an error if the target cannot be had now, and what look returned otherwise.
	Reach func(name string, id uint64, look func(Target) error) error
}

func (m *mover) openMoves(c Config) {
	u64 := func(off int) *mem.U64 { return c.Ctl.U64(c.Base + off) }
	m.id, m.limit = c.ID, uint64(c.MaxDeliveries)
	m.arrivals, m.names = arrivals{c.Moves, c.MovesAt}, moveName{c.Moves, c.NameAt}
	m.moving, m.buried, m.dropped = u64(offMoving), u64(offBuried), u64(offDropped)
	m.worn = c.Ctl.U32(c.Base + offWorn)
}

// ID is the identity of the queue where records are moved.
func (m *mover) ID() uint64 { return m.id }

// move takes the record at pos, which this process holds, to another queue. With an error it is where it was.
func (l *leasing) move(pos, h uint64, to Target) error {
	q := l.q
	if q.moving.Load() != 0 { // one in which the memory faulted
		return errs.ErrBusy
	}
	st := q.word(pos + wordSize).Load()
	q.names.set(to.Name, to.Queue.id)
	q.moving.StoreRelease(pos + 1)
	payload := q.view(pos+q.head, int(payloadLen(h)))
	if err := to.Queue.arrive(q.id, pos, h&hasEnvelope, payload); err != nil {
		q.moving.StoreRelease(0)
		return err
	}
	ok := q.word(pos+wordSize).CAS(st, stateDone)
	to.Queue.arrivals.forget(q.id, pos)
	q.moving.StoreRelease(0)
	if !ok {
		return fmt.Errorf("%w: a record changed its state while it was moved", errs.ErrCorrupt)
	}
	return nil
}

// finish ends a move that a dead process left, or one in which the memory faulted. If the target cannot be
// looked at now, the move stays where it is.
func (l *leasing) finish() error {
	q := l.q
	m := q.moving.Load()
	if m == 0 || q.Reach == nil {
		return nil
	}
	name, id := q.names.get()
	if q.Reach(name, id, func(to Target) error { return l.finishAt(m-1, to) }) != nil {
		l.pending = m
		return nil
	}
	q.moving.StoreRelease(0)
	return nil
}

// finishAt finishes the move of the record at pos. If the target is gone, so is what arrived there.
func (l *leasing) finishAt(pos uint64, to Target) error {
	q := l.q
	if to.Queue == nil {
		return nil
	}
	if pos&7 == 0 && pos-l.head < l.cursor-l.head {
		w := q.word(pos + wordSize)
		if st := w.Load(); stateOf(st) != stateDone {
			arrived, err := to.Queue.arrived(q.id, pos)
			if err != nil || !arrived {
				return err
			}
			w.StoreRelease(stateDone)
			if q.isWorn(countOf(st)) {
				q.buried.StoreRelease(q.buried.Load() + 1)
			}
		}
	}
	to.Queue.arrivals.forget(q.id, pos)
	return nil
}
