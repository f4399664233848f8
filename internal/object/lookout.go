package object

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

// lookout notices that files were deleted under this process: by rm -rf, by logind's RemoveIPC, by a cleaner of temporary
// files. Nobody marked such an object as removed, so its users would go on, beside those of a new object of that
// name. The lookout marks it; then the state word says so to everybody, by the one way that a removal has.
//
// What it asks are levels: does the name still lead to the very file, is the table of members still ours, does the directory
// lie where it did? The times of the directory are a hint, which spares it the question for each object while no name
// changes. There is one lookout a space, which looks only while objects are open.
type lookout struct {
	// Guarded by Space.mu.
	open  map[*Object]bool // true: its name is known to be gone
	left  []string         // files of marked objects that could not be unlinked at once
	timer *time.Timer
	stamp segment.Stamp
	lost  bool // the domain: see Space.gone
}

// lookEvery is how often the lookout looks. Promised is a second, for waits; a look takes some microseconds.
const lookEvery = 400 * time.Millisecond

// opened has the lookout watch the object's file.
func (s *Space) opened(o *Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lookout.open == nil {
		s.lookout.open = map[*Object]bool{}
	}
	s.lookout.open[o] = false
	s.begin()
}

// later has the lookout unlink the file of a marked object when it can.
func (s *Space) later(file string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.lookout.left, file) {
		s.lookout.left = append(s.lookout.left, file)
	}
	s.begin()
}

// begin is called with s.mu held.
func (s *Space) begin() {
	if s.lookout.timer == nil && !mem.IsReproducible() {
		s.lookout.timer = time.AfterFunc(lookEvery, s.look)
	}
}

// closed has the lookout forget the object.
func (s *Space) closed(o *Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lookout.open, o)
}

func (l *lookout) stop() {
	if l.timer != nil {
		l.timer.Stop()
	}
}

// look is one look of the lookout.
func (s *Space) look() {
	missing := s.missing()
	for _, lose := range []func(*Object){(*Object).noteLoss, (*Object).markLost} { // several may be one file
		for _, o := range missing {
			if o.Gate.Enter() {
				lose(o)
				o.Gate.Leave()
			}
		}
	}
	s.mu.Lock()
	left := s.lookout.left
	s.lookout.left = nil
	if s.refs == 0 {
		left = nil
	}
	s.mu.Unlock()
	for _, file := range left {
		s.retry(file)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refs > 0 && (len(s.lookout.open) > 0 || len(s.lookout.left) > 0) {
		s.lookout.timer.Reset(lookEvery)
	} else {
		s.lookout.timer = nil
	}
}

// atOnce is how many names are looked at while others wait for the space.
const atOnce = 64

// missing are the open objects whose files are gone, each named once.
func (s *Space) missing() (gone []*Object) {
	for some := range slices.Chunk(s.suspects(), atOnce) {
		s.mu.Lock()
		for _, o := range some {
			if known, open := s.lookout.open[o]; !open || known || s.refs == 0 {
				continue
			}
			if s.lookout.lost || s.Dir.Leads(o.file.Name(), o.file) == segment.Gone {
				s.lookout.open[o] = true
				gone = append(gone, o)
			}
		}
		s.mu.Unlock()
	}
	return gone
}

// suspects are the objects whose names have to be looked at: none while no name of the directory changed.
func (s *Space) suspects() (all []*Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refs == 0 {
		return nil
	}
	l := &s.lookout
	now, err := s.Dir.Stamp()
	moved := !l.lost && s.Dir.Stands() == segment.Gone // which the times do not tell if it lies in what was moved
	if err == nil && l.stamp.Same(now) && !moved {
		return nil
	}
	l.stamp = now
	l.lost = l.lost || moved || s.Table.In(s.Dir) == segment.Gone
	for o, known := range l.open {
		if !known {
			all = append(all, o)
		}
	}
	return all
}

// retry unlinks a name that was left.
func (s *Space) retry(file string) {
	if s.Retain() != nil {
		return
	}
	defer s.Release()
	ctx, cancel := context.WithTimeout(context.Background(), settle)
	defer cancel()
	if _, err := s.finishRemoval(ctx, file); err != nil {
		s.later(file)
	}
}

// lastTry unlinks what was left, without waiting. What it does not get stays for others.
func (s *Space) lastTry() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, file := range s.lookout.left {
		_, _ = s.finishRemoval(ctx, file)
	}
}

// here says what is wrong if the domain is not where others join it. Creating and opening ask: the tokens of the
// others would mean nothing to us, nor ours to them.
func (s *Space) here() error {
	if !s.Visit && s.gone() {
		return s.deleted()
	}
	return nil
}

// gone reports that those who join the domain from now on get another one: the table of members is not ours any more, or
// the whole directory was moved.
func (s *Space) gone() bool {
	return s.Table.In(s.Dir) == segment.Gone || s.Dir.Stands() == segment.Gone
}

// noteLoss notes that the object was not removed: its file was deleted.
func (o *Object) noteLoss() {
	_ = Guarded(func() error {
		if o.Word.Load()&Removed == 0 {
			o.lost.Store(true)
		}
		return nil
	})
}

// markLost marks an object as removed whose file was deleted. Of one that was truncated as well, what is left is marked. If it
// cannot be marked now, for want of memory, the lookout tries again.
func (o *Object) markLost() {
	if err := o.Space.mark(o.file, o.Header); err != nil && !errors.Is(err, errs.ErrCorrupt) {
		o.Space.lookAgain(o)
	}
}

// lookAgain has the lookout look at the object's name again, although no name of the directory changes.
func (s *Space) lookAgain(o *Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, open := s.lookout.open[o]; open {
		s.lookout.open[o] = false
		s.lookout.stamp = segment.Stamp{}
	}
}

// Verify is Err for a call that has to wait for a lock. It also asks the kernel whether the file is still there, so that no
// contended lock is waited for in a file that others cannot find. The caller is inside of the gate.
func (o *Object) Verify() error {
	if err := o.Err(); err != nil {
		return err
	}
	if o.file.Deleted() {
		o.noteLoss()
		o.markLost()
	}
	return o.Err()
}

// removed says what is known about the end of the object.
func (o *Object) removed() error {
	switch {
	case o.lost.Load():
		return fmt.Errorf("%s %q: %w: its file %s was deleted or moved under this process; "+
			"next: close it, and open or create it again",
			o.Kind, o.Name, errs.ErrRemoved, o.file.Path())
	case o.Space.here() != nil:
		return fmt.Errorf("%s %q: %w", o.Kind, o.Name, o.Space.here())
	}
	return fmt.Errorf("%s %q: %w", o.Kind, o.Name, errs.ErrRemoved)
}
