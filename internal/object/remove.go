package object

import (
	"context"
	"fmt"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/segment"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Removal has two steps: the state word says so (the commit: from here on the object has no name,
// whatever the directory shows), then the file is unlinked. Who dies between leaves a name that the
// next to open, create or sweep takes away. Unlinking happens under the domain's name lock, and
// only if the name still leads to the very file that was marked.

// Remove takes away the object called name. Whoever has it open gets errs.ErrRemoved. A file whose
// header is damaged is removed too.
func (s *Space) Remove(ctx context.Context, name string) error {
	file, err := segment.FileName(name)
	if err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	f, err := s.Dir.Open(file)
	if err != nil {
		return fmt.Errorf("remove %q: %w", name, err)
	}
	defer f.Close()
	if err := markRemoved(f); err != nil {
		return fmt.Errorf("remove %q: %w", name, err)
	}
	if err := s.unlink(ctx, f, file); err != nil {
		return fmt.Errorf("remove %q: %w", name, err)
	}
	return nil
}

// markRemoved sets the flag and wakes everybody. A damaged object has nobody to tell.
func markRemoved(f *segment.File) (err error) {
	h, err := readHeader(f)
	if err != nil {
		return nil
	}
	last := int64(HeaderSize)
	for _, e := range h.Events {
		last = max(last, int64(e)+4)
	}
	for _, l := range h.Locks {
		last = max(last, int64(l.Off)+wordlock.Size)
	}
	r, err := mem.Map(f.Fd(), mem.Part{Len: int((last + HeaderSize - 1) / HeaderSize * HeaderSize)})
	if err != nil {
		return err
	}
	defer r.Unmap()
	g := mem.Protect()
	defer g.Recover(&err)
	r.Span(0).U32(offState).Or(Removed)
	wakeAll(r.Span(0), h)
	g.Done = true
	return nil
}

func wakeAll(s *mem.Span, h *Header) {
	for _, e := range h.Events {
		wait.NewEvent(s.U32(e)).WakeAll()
	}
	for _, l := range h.Locks {
		wordlock.Bar(s, l.Off)
	}
}

// unlink removes the name if it still leads to f.
func (s *Space) unlink(ctx context.Context, f *segment.File, file string) error {
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		ok, err := s.Table.LockNames()
		if err != nil {
			return err
		}
		if ok {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: another process holds the name lock of the domain (%w)", errs.ErrBusy, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
	defer s.Table.UnlockNames()
	if !f.Linked(file) {
		return nil // somebody else finished it
	}
	return s.Dir.Unlink(file)
}

// finishRemoval unlinks a file whose object is marked as removed.
func (s *Space) finishRemoval(file string) (done bool, err error) {
	f, err := s.Dir.Open(file)
	if err != nil {
		return true, nil // gone, or something that Create and Open report better
	}
	defer f.Close()
	h, err := readHeader(f)
	if err != nil || h.State&Removed == 0 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return true, s.unlink(ctx, f, file)
}

// Remove takes away the name of this object and tells everybody, us included.
func (o *Object) Remove() error {
	if err := markRemoved(o.file); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return o.Space.unlink(ctx, o.file, o.file.Name())
}

// removeIfLast removes an ephemeral object that has no user but us. Our own lock goes first, so that
// of two who close at once at least one finds himself the last.
func (o *Object) removeIfLast() error {
	o.file.Unlock(userLocks, userSlots)
	return o.Space.removeUnused(o.file)
}

// removeUnused removes the object in f if nobody has it open.
func (s *Space) removeUnused(f *segment.File) error {
	ok, err := f.LockExclusive(userLocks, userSlots)
	if err != nil || !ok {
		return err
	}
	defer f.Unlock(userLocks, userSlots)
	if err := markRemoved(f); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.unlink(ctx, f, f.Name())
}
