package object

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/bell"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/segment"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Removal has two steps. First the object is marked: its state word says so (the commit: from here on the object has no
// name, whatever the directory shows), its locks are barred, and everybody is woken. Then the file is unlinked. A process
// that dies in between leaves a name that the next one to open, create or sweep takes away; it marks first, too, for the
// dead one may not have got to the bars and the wake-ups. So before a successor of that name can exist, every
// handle on the old object is on its way to ErrRemoved, those that only ever take a fast path included.
// Unlinking happens under the domain's name lock, and only if the name still leads to the very file that was marked.

const (
	// settle is how long an operation that has done its work waits for the name lock, before it leaves the
	// unlinking to others.
	settle = 10 * time.Millisecond
	// insist is how long an operation waits for it that cannot go on before the name is free.
	insist = time.Second
)

// paused is called, if set, where tests let others overtake.
var paused func(before string)

func pauseBefore(step string) {
	if paused != nil {
		paused(step)
	}
}

// Remove takes away the object called name. Whoever has it open gets errs.ErrRemoved. A file whose header is damaged is
// removed too, and so is what is no object: a symbolic link, say, or an empty directory.
func (s *Space) Remove(ctx context.Context, name string) error {
	file, err := segment.FileName(name)
	if err == nil {
		err = s.remove(ctx, file)
	}
	if err != nil {
		return fmt.Errorf("remove %q: %w", name, err)
	}
	return nil
}

func (s *Space) remove(ctx context.Context, file string) error {
	f, err := s.Dir.Open(file)
	if errors.Is(err, errs.ErrCorrupt) || errors.Is(err, fs.ErrPermission) {
		if t, e := s.Dir.Thing(file); e == nil {
			return s.removeThing(ctx, file, t)
		}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if h, err := readHeader(f); err == nil { // a damaged object has nobody to tell
		if err := s.mark(f, h); err != nil {
			return err
		}
	}
	return s.unlink(ctx, f, file)
}

// mark sets the state word of the object in f, bars its locks and wakes everybody. Doing it again does no harm.
func (s *Space) mark(f *segment.File, h *Header) error {
	last := int64(HeaderSize)
	for _, e := range h.Events {
		last = max(last, int64(e)+bell.LineSize)
	}
	for _, l := range h.Locks {
		last = max(last, int64(l.Off)+wordlock.Size)
	}
	r, err := mem.Map(f.Fd(), mem.Part{Len: int((last + HeaderSize - 1) / HeaderSize * HeaderSize)})
	if err != nil {
		return err
	}
	defer r.Unmap()
	return s.markIn(r.Span(0), h)
}

// markIn is mark in memory that reaches over all locks and events.
func (s *Space) markIn(span *mem.Span, h *Header) error {
	err := Guarded(func() error {
		span.U32(offState).Or(Removed)
		return nil
	})
	// Each for itself: of a truncated file a part may be there.
	for _, e := range h.Events {
		_ = Guarded(func() error {
			s.event(span, h, e).Rouse()
			return nil
		})
	}
	for _, l := range h.Locks {
		_ = Guarded(func() error {
			wordlock.Bar(span, l.Off)
			return nil
		})
	}
	return err
}

// event views an event of the header's table.
func (s *Space) event(span *mem.Span, h *Header, off int) wait.Event {
	if s.Table != nil && h.Kind.HasBells() && off+bell.LineSize <= span.Len() {
		return wait.EventAt(span, off, s.Table)
	}
	return wait.NewEvent(span.U32(off))
}

// lockNames takes the domain's name lock; Table.UnlockNames must follow.
func (s *Space) lockNames(ctx context.Context) error {
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		ok, err := s.Table.LockNames()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: another process holds the name lock of the domain (%w)", errs.ErrBusy, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// unlink removes the name if it still leads to f.
func (s *Space) unlink(ctx context.Context, f *segment.File, file string) error {
	if err := s.lockNames(ctx); err != nil {
		return err
	}
	defer s.Table.UnlockNames()
	if s.Dir.Leads(file, f) != segment.There {
		return nil // somebody else finished it
	}
	pauseBefore("unlink")
	return s.Dir.Unlink(file)
}

// removeThing removes what is no object, if the name still leads to it.
func (s *Space) removeThing(ctx context.Context, file string, was segment.Thing) error {
	if err := s.lockNames(ctx); err != nil {
		return err
	}
	defer s.Table.UnlockNames()
	if is, err := s.Dir.Thing(file); err != nil || is.Ino != was.Ino || is.Dev != was.Dev {
		return err
	}
	return s.Dir.RemoveThing(file, was)
}

// settle unlinks the name of a marked object, which is gone for everybody already. If the name lock is not to be had
// soon, the name stays until the space gets round to it (see lookout), or else to the next open, create or sweep.
func (s *Space) settle(f *segment.File, file string) error {
	ctx, cancel := context.WithTimeout(context.Background(), settle)
	defer cancel()
	err := s.unlink(ctx, f, file)
	if errors.Is(err, errs.ErrBusy) {
		s.later(file)
		return nil
	}
	return err
}

// finishRemoval takes away the name of an object that is marked as removed. It is done if then there is none.
func (s *Space) finishRemoval(ctx context.Context, file string) (done bool, err error) {
	f, err := s.Dir.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("what has the name cannot be looked at: %w", err)
	}
	defer f.Close()
	h, err := readHeader(f)
	if err != nil || h.State&Removed == 0 {
		return false, nil
	}
	if err = s.mark(f, h); err == nil {
		err = s.unlink(ctx, f, file)
	}
	if err != nil {
		return false, fmt.Errorf("what has the name was removed, but the name cannot be taken away: %w", err)
	}
	return true, nil
}

// Remove takes away the name of this object and tells everybody, us included.
func (o *Object) Remove() error {
	if err := o.Space.mark(o.file, o.Header); err != nil {
		return err
	}
	return o.Space.settle(o.file, o.file.Name())
}

// removeIfLast removes an ephemeral object that has no user but us. Our own lock goes first, so that
// of two who close at once at least one finds itself the last.
func (o *Object) removeIfLast() error {
	o.file.Unlock(userLocks, userSlots)
	return o.Space.removeUnused(o.file, o.Header, o.Space.settle)
}

// removeUnused removes the object in f if nobody has it open.
func (s *Space) removeUnused(f *segment.File, h *Header, unlink func(f *segment.File, file string) error) error {
	ok, err := f.LockExclusive(userLocks, userSlots)
	if err != nil || !ok {
		return err
	}
	defer f.Unlock(userLocks, userSlots)
	if err := s.mark(f, h); err != nil {
		return err
	}
	return unlink(f, f.Name())
}
