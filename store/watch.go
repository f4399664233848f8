package store

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/table"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// WatchOptions of Watch. The zero value is good.
type WatchOptions struct {
	// Initial yields first what is there already.
	Initial bool
	// Exact takes the pattern for a key, whatever its last byte is.
	Exact bool
}

// Event is what a watcher is told: an entry, or, with Deleted, that its key has no value any more,
// because it was deleted, expired or was evicted.
type Event struct {
	Entry
	Deleted bool
}

// Watch yields what changes from now on: of one key, or, if the pattern ends in "*", of all keys
// that begin with what is before that. It begins with the call, not with the loop.
//
// The last value of every key is told, and its end; values in between may be left out, as far as
// the receiver is slower than the changes. A watcher that other keys' changes wake all the time,
// and that has had nothing to tell for long, is told up to 10 ms late. It may yield until ctx is
// done, the handle closed or the store removed; that error comes last. A second loop goes on where
// the first one stopped; two at a time must not be. The watcher remembers the keys that it told of.
func (s *Store) Watch(ctx context.Context, pattern string, opt *WatchOptions) iter.Seq2[Event, error] {
	if opt == nil {
		opt = &WatchOptions{}
	}
	w := &watch{s: s}
	key, prefix := pattern, false
	if !opt.Exact {
		key, prefix = strings.CutSuffix(pattern, "*")
	}
	err := s.call(func() (err error) {
		var tell func(table.Event)
		if opt.Initial {
			tell = w.tell
		}
		w.Watcher, err = s.t.Watch(ctx, key, !prefix, tell)
		return err
	})
	return func(yield func(Event, error) bool) {
		for {
			for len(w.events) > 0 {
				e := w.events[0]
				if w.events = w.events[1:]; !yield(e, nil) {
					return
				}
			}
			w.events = nil
			if err == nil {
				err = s.call(func() error { return w.next(ctx) })
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

// watch is one watcher and what it has to tell.
type watch struct {
	*table.Watcher
	s      *Store
	events []Event

	asleep bool // the last Look slept, asking to be woken
	since  time.Time
	bound  time.Duration

	vain  int       // how often in a row it was woken and had nothing to tell
	rest  time.Time // until when it does not ask to be woken
	never mem.U32   // what it sleeps on meanwhile
}

func (w *watch) tell(e table.Event) {
	w.events = append(w.events, Event{entryOf(e.Entry), e.Deleted})
}

// next collects what there is to tell, and waits for it.
func (w *watch) next(ctx context.Context) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := w.Poll(ctx, w.tell)
		if len(w.events) > 0 {
			w.vain, w.rest = 0, time.Time{}
		}
		if err != nil || len(w.events) > 0 {
			return err
		}
		if err := w.wait(ctx); err != nil {
			return err
		}
		if err := w.s.gone(); err != nil {
			return err
		}
	}
}

// wait polls, then sleeps, until there may be something to tell.
func (w *watch) wait(ctx context.Context) error {
	if w.vain <= restAfter && w.s.spin.Poll(changes{w}) { // within the time that it pays to wait for it awake
		w.inVain()
		return nil
	}
	w.asleep = false
	return w.s.obj.Sess.Wait(ctx, w)
}

// changes is the watch as polls ask it.
type changes struct{ w *watch }

func (c changes) Ready() bool { return c.w.Changed() }

// Look implements wait.Until.
func (w *watch) Look(c *wait.Call) (over bool, err error) {
	if w.asleep {
		w.asleep = false
		if time.Since(w.since) >= w.bound {
			w.vain = 0
		} else {
			w.inVain()
		}
		if w.Ready() {
			return true, nil
		}
	}
	if left := time.Until(w.rest); left > 0 {
		c.On(&w.never, 0)
		c.Bound(left)
		return false, nil
	}
	c.Arm(w.Event())
	if w.Ready() {
		w.inVain()
		return true, nil
	}
	// A writer that died in a change that it had begun may not have told of it.
	if did, err := w.s.t.Settle(); did || err != nil {
		return did, err
	}
	w.bound = wait.MaxSleep
	if in, ok := w.Expires(); ok {
		w.bound = max(min(w.bound, in), time.Millisecond)
		c.Bound(w.bound)
	}
	w.asleep, w.since = true, time.Now()
	w.s.t.Sleeps().Add(1)
	return false, nil
}

// Stale implements wait.Until.
func (w *watch) Stale() bool { return w.Ready() }

// Abandon implements wait.Until: all who watch are woken, so nothing is used up.
func (w *watch) Abandon() {}

// A watcher that others wake for nothing, again and again, rests before it asks to be woken once
// more: ever longer, so that it is told late by about as long as it had nothing to tell before, and
// by no more than restMost.
const (
	restAfter = 2
	restFirst = 100 * time.Microsecond
	restMost  = 10 * time.Millisecond
)

// inVain counts a wake-up; it was not in vain if there is something to tell, and then that is said
// next.
func (w *watch) inVain() {
	if w.vain++; w.vain <= restAfter {
		return
	}
	rest := min(restFirst<<min(w.vain-restAfter-1, 10), restMost)
	if in, ok := w.Expires(); ok {
		rest = min(rest, in)
	}
	w.rest = time.Now().Add(rest)
}
