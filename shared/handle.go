package shared

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/mutex"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Control words of both kinds.
const (
	offWriter  = object.HeaderSize // lock record: writers exclude each other
	offLock    = offWriter + wordlock.Size
	offWord    = offLock + wordlock.Size // u64: the value, or the version
	offChanged = offWord + 8             // u32: event
)

// handle is what all handles have in common.
type handle struct {
	obj     *object.Object
	desc    schema.Descriptor
	layout  *schema.Layout
	check   func([]byte) error // of elements, nil when any bytes will do
	user    *mutex.Mutex       // nil: made without
	writer  *wordlock.Lock
	word    *mem.U64
	changed wait.Event
	spin    wait.Spinner
	closed  atomic.Bool
}

// fixed is the element type that a header names.
func fixed(h *object.Header) (d schema.Descriptor, l *schema.Layout, err error) {
	if d, err = schema.Parse(h.Desc); err != nil {
		return d, nil, err
	}
	if d.Hash != h.DescHash {
		return d, nil, fmt.Errorf("%w: the hash of the type descriptor does not fit it", errs.ErrCorrupt)
	}
	l, err = d.Layout()
	return d, l, err
}

// newHandle takes over a share of o, also when it fails.
func newHandle(o *object.Object, locked bool) (*handle, error) {
	h := &handle{obj: o, word: o.Ctl.U64(offWord), changed: wait.NewEvent(o.Ctl.U32(offChanged))}
	h.writer = wordlock.New(o.Ctl, offWriter, o.Space.Table, &o.Sess)
	h.writer.Stop = o.Err
	h.spin.SetMode(o.Space.Mode)
	var err error
	if h.desc, h.layout, err = fixed(o.Header); err == nil && locked {
		h.user, err = mutex.New(o, offLock)
	}
	if err != nil {
		o.Close()
		return nil, err
	}
	h.check = h.desc.Checker()
	return h, nil
}

// Name is the name of the object.
func (h *handle) Name() string { return h.obj.Name }

// Type is the descriptor of the element type, as docs/layout.md defines it.
func (h *handle) Type() string { return h.desc.Text }

// String names the object and its type.
func (h *handle) String() string { return fmt.Sprintf("%s %q of %s", h.obj.Kind, h.obj.Name, h.desc) }

// Close gives up the handle; calls that wait return shiplap.ErrClosed. What is lent stays mapped until it is released. If
// the lock is held through this handle, it stays held until Unlock, which still works.
func (h *handle) Close() error {
	if h.closed.Swap(true) {
		return h.obj.Wrap(errs.ErrClosed)
	}
	err := h.obj.Close()
	if h.user != nil {
		h.user.Close()
	}
	return err
}

func (h *handle) unlocked() error {
	return fmt.Errorf("%s %q: %w: it was made without a lock (option Unlocked)", h.obj.Kind, h.obj.Name, errs.ErrUnsupported)
}

// Lock takes the object's own lock, waiting for it. It keeps others from nothing but the lock.
//
// shiplap.ErrOwnerDied means that the lock IS held, and that a process died holding it: see lock.Mutex.
func (h *handle) Lock(ctx context.Context) error {
	if h.user == nil {
		return h.unlocked()
	}
	return h.user.Lock(ctx)
}

// TryLock is Lock without waiting: shiplap.ErrBusy when the lock is held.
func (h *handle) TryLock() error {
	if h.user == nil {
		return h.unlocked()
	}
	return h.user.TryLock()
}

// Unlock gives the lock to the next; shiplap.ErrConflict when it is not held through this handle.
func (h *handle) Unlock() error {
	if h.user == nil {
		return h.unlocked()
	}
	return h.user.Unlock()
}

// Repaired says, while the lock is held, that what it protects is in order again after a death.
func (h *handle) Repaired() error {
	if h.user == nil {
		return h.unlocked()
	}
	return h.user.Repaired()
}

// checked calls the checker on private bytes of one or more elements.
func (h *handle) checked(b []byte) error {
	if h.check == nil {
		return nil
	}
	for n := h.desc.Size; len(b) >= n; b = b[n:] {
		if err := h.check(b[:n]); err != nil {
			return err
		}
	}
	return nil
}

// Protect runs f, which may use borrowed memory: if that is not there any more, because a peer truncated the file,
// it returns shiplap.ErrCorrupt instead of ending the process. It does not cover goroutines that f starts.
func Protect(f func() error) error { return object.Guarded(f) }

// readiness is what a waiter waits for; it is asked from any goroutine.
type readiness interface{ Ready() bool }

// await polls, then sleeps, until r or until something speaks against waiting on. It returns nil also
// when nothing is certain: the caller looks again.
func (h *handle) await(ctx context.Context, r readiness) error {
	if ctx.Err() != nil { // also where hostile bytes make us come back again and again
		return context.Cause(ctx)
	}
	if h.spin.Poll(r) {
		return nil
	}
	return h.obj.Sess.Wait(ctx, &waiting{h, r})
}

// waiting is one blocked call: it waits for a change that is published with the event.
type waiting struct {
	h *handle
	r readiness
}

// Look implements wait.Until.
func (w *waiting) Look(c *wait.Call) (over bool, err error) {
	c.Arm(w.h.changed)
	return w.r.Ready(), nil
}

// Stale implements wait.Until.
func (w *waiting) Stale() bool { return w.r.Ready() }

// Abandon implements wait.Until: all who wait are woken, so nothing is used up.
func (w *waiting) Abandon() {}

// LockStats is a lock at one moment, seen without locking.
type LockStats struct {
	Holder     int    `json:"holder"`     // pid, 0 when free; a dead one's is shown until somebody takes over
	Damaged    bool   `json:"damaged"`    // an owner died, and nobody has called Repaired
	Sleeps     uint64 `json:"sleeps"`     // how often somebody had to sleep for it
	Recoveries uint32 `json:"recoveries"` // how often it was taken over from a dead owner
}

func (h *handle) lockStats(off int) LockStats {
	st := wordlock.Inspect(h.obj.Ctl, off)
	s := LockStats{Damaged: st.Damaged, Sleeps: st.Sleeps, Recoveries: st.Recoveries}
	if st.Owner != 0 {
		m, _ := h.obj.Space.Table.Lookup(st.Owner)
		s.Holder = m.Pid
	}
	return s
}

// Stats is an object at one moment.
type Stats struct {
	Version uint64     `json:"version"`        // how often it was written or published; 0 for values that are words and for plain arrays
	Writer  LockStats  `json:"writer"`         // the lock that writers and publishers exclude each other by
	Lock    *LockStats `json:"lock,omitempty"` // the lock of its users, nil if it was made without
}

func (h *handle) stats(versioned bool) (s Stats, err error) {
	err = h.obj.Call(func() error {
		if versioned {
			s.Version = h.word.Load()
		}
		s.Writer = h.lockStats(offWriter)
		if h.user != nil {
			l := h.lockStats(offLock)
			s.Lock = &l
		}
		return nil
	})
	return s, err
}
