package row

import (
	"context"
	"sync"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// What ends a wait on a row is decided here and, for consumers that lease, in leasewait.go, in the Looks: whether there
// is a record, or room; whether the row was closed or removed; whether a process is dead whose death changes that. (The
// context and the closing of the handle are package wait's.)

// ready is what is waited for, asked cheaply and from any goroutine.
type ready interface{ Ready() bool }

// waiting is one blocked call: on a record, or on room.
type waiting struct {
	r        *Row
	ready    ready
	event    wait.Event
	sleeps   *mem.U64
	gone     func(*wait.Call) error
	producer *Producer // that waits for room; nil: a reader
}

var waitings = sync.Pool{New: func() any { return new(waiting) }}

// await polls, then sleeps, until ready or until something speaks against waiting on: a producer for room, or, where p
// is nil, a reader. It returns nil also when nothing is certain: the caller looks again.
func (r *Row) await(ctx context.Context, want ready, p *Producer) error {
	if ctx.Err() != nil { // also where hostile bytes make us come back again and again
		return context.Cause(ctx)
	}
	spin := &r.getSpin
	if p != nil {
		spin = &r.putSpin
	}
	if spin.Poll(want) {
		return nil
	}
	w := waitings.Get().(*waiting)
	*w = waiting{r, want, r.notEmpty, r.emptySleeps, r.ProducersGone, nil}
	if p != nil {
		*w = waiting{r, want, r.notFull, r.fullSleeps, r.ConsumersGone, p}
	}
	defer waitings.Put(w)
	return r.Sess.Wait(ctx, w)
}

const (
	burstLeast = 16  // messages without a wait between that make a burst
	burstPause = 200 // pause hints
)

// burst is called when a side runs dry after n messages without a wait. If those were many, the other
// side is at work as well: it lets that get ahead for a moment, instead of taking the line that it is
// about to write away from it at every message. The result says that a moment went by.
func burst(n uint64, s *wait.Spinner) bool {
	if n < burstLeast || !s.Useful() {
		return false
	}
	mem.Pause(burstPause)
	return true
}

func (w *waiting) Look(c *wait.Call) (over bool, err error) {
	c.Arm(w.event)
	if w.ready.Ready() {
		return true, nil
	}
	switch {
	case w.producer == nil:
		over = w.r.stuck(c)
	case w.r.topic != nil:
		over = w.r.topic.unblocked(c, w.producer)
	default:
		over, err = w.r.queue.reclaimed(c)
	}
	if over || err != nil {
		return over, err
	}
	if w.gone != nil {
		if err := w.gone(c); err != nil {
			if w.ready.Ready() { // it was put, or taken, before the peer went
				return true, nil
			}
			return false, err
		}
	}
	if c.First() {
		w.sleeps.Add(1)
	}
	return false, nil
}

func (w *waiting) Stale() bool {
	return w.ready.Ready() || w.producer != nil && w.r.Ack() && w.r.queue.headDone()
}

// Abandon passes the wake-up on to one who goes on.
func (w *waiting) Abandon() {
	if w.ready.Ready() {
		w.event.Wake(1)
	}
}

// stuck reports that a producer died while it was busy in a closed row: then final has to look, and repairs. As
// long as it lives it will wake us.
func (r *Row) stuck(c *wait.Call) bool {
	if !r.IsClosed() || r.busy.Load() == 0 {
		return false
	}
	owner := r.ProducerLock.Owner()
	if owner == 0 {
		return true
	}
	c.Depend(r.Owners, owner)
	return r.Owners.Dead(owner)
}

// unblocked reports that nobody holds up a producer that waits for room in a topic any more: all who did are dead. It
// names them to the call.
func (t *Topic) unblocked(c *wait.Call, p *Producer) bool {
	t.each(p.freed, p.want, func(_ int, token uint32) { c.Depend(t.Owners, token) })
	return !before(t.behind(p.freed, p.pos, p.want), p.want)
}

// headDone reports that the oldest record was acknowledged, so that its memory can be taken back.
func (q *Queue) headDone() bool {
	if !q.Ack() {
		return false
	}
	return q.doneAt(q.taken.Load())
}

// doneAt reports that the record at pos was acknowledged.
func (q *Queue) doneAt(pos uint64) bool {
	return pos&7 == 0 && q.word(pos).LoadHint() != 0 && stateOf(q.word(pos+wordSize).LoadHint()) == stateDone
}

// reclaimed takes back what was acknowledged, for a producer that waits for room. If somebody else is taking just now,
// it will do so when it gives the lock back (see unlockConsumer), unless it dies.
func (q *Queue) reclaimed(c *wait.Call) (over bool, err error) {
	if !q.Ack() {
		return false, nil
	}
	for range reclaimTries {
		if over, err = q.tryReclaim(); over || err != nil {
			return over, err
		}
		// After the try, so that it has met nobody who is not named here.
		if owner := q.ConsumerLock.Owner(); owner != 0 {
			c.Depend(q.Owners, owner)
			return false, nil
		}
		if !q.headDone() { // else its last owner may have died before it looked
			return false, nil
		}
	}
	return false, nil
}

// reclaimTries bounds what hostile bytes can keep us at.
const reclaimTries = 3

// unlockConsumer gives the consumer lock of a queue with acknowledgement back. If a record was acknowledged meanwhile by
// somebody who found the lock taken, producers that wait for its room learn of it. (Both the unlock here and the CAS to
// done are full fences: one of the two sees the other.)
func (q *Queue) unlockConsumer() {
	q.ConsumerLock.Unlock()
	if q.headDone() {
		q.notFull.WakeAll()
	}
}
