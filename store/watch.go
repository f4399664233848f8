package store

import (
	"context"
	"iter"
	"strings"
	"time"

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

// Event is what a watcher is told: an entry, or, with Deleted, that its key has no value any more, because it
// was deleted, expired or was evicted.
type Event struct {
	Entry
	Deleted bool
}

// Watch yields what changes from now on: of one key, or, if the pattern ends in "*", of all keys that begin with what is before
// that. It begins with the call, not with the loop.
//
// The last value of every key is told, and its end; values in between may be left out, as far as
// the receiver is slower than the changes. It may yield until ctx is done, the handle closed or the store removed;
// that error comes last. A second loop goes on where the first one stopped; two at a time must not be. The watcher remembers the
// keys that it told of.
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
		w.Watcher, err = s.t.Watch(key, !prefix, tell)
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
		if err := w.Poll(w.tell); err != nil || len(w.events) > 0 {
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
	for p := w.s.spin.Start(); ; {
		if w.Changed() {
			p.Hit()
			return nil
		}
		if !p.Next() {
			break
		}
	}
	return w.s.obj.Sess.Wait(ctx, w)
}

// Look implements wait.Until.
func (w *watch) Look(c *wait.Call) (over bool, err error) {
	c.Arm(w.Event())
	if w.Ready() {
		return true, nil
	}
	// A writer that died in a change that it had begun may not have told of it.
	if did, err := w.s.t.Settle(); did || err != nil {
		return did, err
	}
	if in, ok := w.Expires(); ok {
		c.Bound(max(in, time.Millisecond))
	}
	if c.First() {
		w.s.t.Sleeps().Add(1)
	}
	return false, nil
}

// Stale implements wait.Until.
func (w *watch) Stale() bool { return w.Ready() }

// Abandon implements wait.Until: all who watch are woken, so nothing is used up.
func (w *watch) Abandon() {}
