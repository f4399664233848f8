package row

import (
	"sync"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// leaseWait is a consumer that waits for a record that it can lease: a new one, one that was given back, or one whose
// holder died. The holders are those that its last scan met.
type leaseWait struct {
	q      *Queue
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
	w.leases = w.q.leases.Load()
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
	q := w.q
	c.Arm(q.notEmpty)
	for _, h := range w.alive {
		c.Depend(q.Owners, h.token)
	}
	if q.anyReady.Ready() || c.Slept() && q.leases.Load() != w.leases || q.stuck(c) {
		return true, nil
	}
	for _, h := range w.alive {
		if h.scans == 0 && q.Owners.Dead(h.token) {
			return true, nil
		}
	}
	if q.worn.Load() != 0 { // nothing tells that the place where it goes can be had again
		if c.Slept() {
			return true, nil
		}
		c.Bound(wait.MaxSleep)
	}
	if c.First() {
		q.emptySleeps.Add(1)
	}
	return false, nil
}

// Stale also reports that others leased something: their deaths matter as well.
func (w *leaseWait) Stale() bool { return w.q.anyReady.Ready() || w.q.leases.Load() != w.leases }

func (w *leaseWait) Abandon() {
	if w.q.anyReady.Ready() {
		w.q.notEmpty.Wake(1)
	}
}

// announceEvery is how often a process that leases records has one of those who sleep look who holds what.
const announceEvery = 200 * time.Millisecond

// announce is called after a record was leased. Somebody who sleeps beside it must hear of our death, for which it has
// to know that we hold something; without this it would find out when it looks by itself.
func (q *Queue) announce() {
	if !q.notEmpty.Armed() {
		return
	}
	now := int64(wait.Now())
	if last := q.announced.Load(); last != 0 && now-last < int64(announceEvery) || !q.announced.CompareAndSwap(last, now) {
		return
	}
	q.notEmpty.Wake(1)
}
