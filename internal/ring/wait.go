package ring

import (
	"context"
	"sync"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// What ends a wait on a ring is decided here, in the Looks: whether there is a record, or room; whether the ring was
// closed or removed; whether somebody is dead whose death changes that. (The context and the closing of the handle
// are package wait's.)

// Ready is what is waited for, cheaply and from any goroutine.
type ready interface{ Ready() bool }

// waiting is one blocked call: on a record, or on room.
type waiting struct {
	r      *Ring
	ready  ready
	event  wait.Event
	sleeps *mem.U64
	gone   func(*wait.Call) error
	room   bool // it is a producer
}

var waitings = sync.Pool{New: func() any { return new(waiting) }}

// await polls, then sleeps, until ready or until something speaks against waiting on. It returns nil
// also when nothing is certain: the caller looks again.
func (r *Ring) await(ctx context.Context, want ready, s *wait.Spinner, room bool) error {
	if ctx.Err() != nil { // also where hostile bytes make us come back again and again
		return context.Cause(ctx)
	}
	if s.Poll(want) {
		return nil
	}
	w := waitings.Get().(*waiting)
	*w = waiting{r, want, r.notEmpty, r.emptySleeps, r.ProducersGone, false}
	if room {
		*w = waiting{r, want, r.notFull, r.fullSleeps, r.ConsumersGone, true}
	}
	defer waitings.Put(w)
	return r.Sess.Wait(ctx, w)
}

func (w *waiting) Look(c *wait.Call) (over bool, err error) {
	c.Arm(w.event)
	if w.ready.Ready() {
		return true, nil
	}
	if w.room {
		over, err = w.r.reclaimed(c)
	} else {
		over = w.r.stuck(c)
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

func (w *waiting) Stale() bool { return w.ready.Ready() || w.room && w.r.headDone() }

// Abandon passes the wake-up on to one who goes on.
func (w *waiting) Abandon() {
	if w.ready.Ready() {
		w.event.Wake(1)
	}
}

// stuck reports that a producer died while it was busy in a closed ring: then Drained has to look, and repairs. As
// long as it lives it will wake us.
func (r *Ring) stuck(c *wait.Call) bool {
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

// headDone reports that the oldest record was acknowledged, so that its memory can be taken back.
func (r *Ring) headDone() bool {
	if !r.Ack() {
		return false
	}
	pos := r.taken.Load()
	return pos&7 == 0 && r.word(pos).LoadHint() != 0 && stateOf(r.word(pos+wordSize).LoadHint()) == stateDone
}

// reclaimed takes back what was acknowledged, for a producer that waits for room. If somebody else is taking just now,
// it will do so when it gives the lock back (see unlockConsumer), unless it dies.
func (r *Ring) reclaimed(c *wait.Call) (over bool, err error) {
	if !r.Ack() {
		return false, nil
	}
	for range reclaimTries {
		if over, err = r.tryReclaim(); over || err != nil {
			return over, err
		}
		// After the try, so that it has met nobody who is not named here.
		if owner := r.ConsumerLock.Owner(); owner != 0 {
			c.Depend(r.Owners, owner)
			return false, nil
		}
		if !r.headDone() { // else its last owner may have died before it looked
			return false, nil
		}
	}
	return false, nil
}

// reclaimTries bounds what hostile bytes can keep us at.
const reclaimTries = 3

// unlockConsumer gives the consumer lock of a ring with acknowledgement back. If a record was acknowledged meanwhile by
// somebody who found the lock taken, producers that wait for its room learn of it. (Both the unlock here and the CAS to
// done are full fences: one of the two sees the other.)
func (r *Ring) unlockConsumer() {
	r.ConsumerLock.Unlock()
	if r.headDone() {
		r.notFull.WakeAll()
	}
}

// leasing consumers.

// leaseWait is a consumer that waits for a record that it can lease: a new one, one that was given back, or one whose
// holder died. The holders are those that its last scan met.
type leaseWait struct {
	r      *Ring
	alive  []holder
	leases uint64 // handed out before the last scan began
}

// holder is a process that holds a record, or did a moment ago.
type holder struct {
	token uint32
	scans int // since it was met with a record
}

// rememberHolder is for how many scans a process counts as a holder that has nothing any more. It may lease the next
// one without telling (see announce).
const rememberHolder = 2

var leaseWaits = sync.Pool{New: func() any { return new(leaseWait) }}

// rescan prepares for a scan. The consumer lock is held.
func (w *leaseWait) rescan() {
	w.leases = w.r.leases.Load()
	kept := w.alive[:0]
	for _, h := range w.alive {
		if h.scans++; h.scans <= rememberHolder {
			kept = append(kept, h)
		}
	}
	w.alive = kept
}

// met notes that a process holds a record.
func (w *leaseWait) met(token uint32) {
	for i := range w.alive {
		if w.alive[i].token == token {
			w.alive[i].scans = 0
			return
		}
	}
	w.alive = append(w.alive, holder{token: token})
}

func (w *leaseWait) Look(c *wait.Call) (over bool, err error) {
	r := w.r
	c.Arm(r.notEmpty)
	for _, h := range w.alive {
		c.Depend(r.Owners, h.token)
	}
	if r.anyReady.Ready() || c.Slept() && r.leases.Load() != w.leases || r.stuck(c) {
		return true, nil
	}
	for _, h := range w.alive {
		if h.scans == 0 && r.Owners.Dead(h.token) {
			return true, nil
		}
	}
	if c.First() {
		r.emptySleeps.Add(1)
	}
	return false, nil
}

// Stale also reports that others leased something: their deaths matter as well.
func (w *leaseWait) Stale() bool { return w.r.anyReady.Ready() || w.r.leases.Load() != w.leases }

func (w *leaseWait) Abandon() {
	if w.r.anyReady.Ready() {
		w.r.notEmpty.Wake(1)
	}
}

// announceEvery is how often a process that leases records has one of those who sleep look who holds what.
const announceEvery = 200 * time.Millisecond

// announce is called after a record was leased. Somebody who sleeps beside it must hear of our death, for which it has
// to know that we hold something; without this it would find out when it looks by itself.
func (r *Ring) announce() {
	if !r.notEmpty.Armed() {
		return
	}
	now := int64(wait.Now())
	if last := r.announced.Load(); last != 0 && now-last < int64(announceEvery) || !r.announced.CompareAndSwap(last, now) {
		return
	}
	r.notEmpty.Wake(1)
}
