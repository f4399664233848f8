package object

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/shiplap-ipc/shiplap/internal/segment"
)

// Swept is one thing that a sweep took away, or would have.
type Swept struct {
	What string // "temporary", "unused", "half-removed", "member"
	Name string // of the object or file
	Size int64
}

// Sweep removes what provably nobody can use any more: temporaries whose maker is dead, objects made
// to go with their users that have none, names of objects that are already marked as removed, and
// the member slots of the dead. What cannot be proved is kept.
func (s *Space) Sweep(ctx context.Context, dryRun bool) ([]Swept, error) {
	files, err := s.Dir.Files()
	if err != nil {
		return nil, err
	}
	var all []Swept
	var errAll error
	for _, file := range files {
		if ctx.Err() != nil {
			return all, errors.Join(errAll, context.Cause(ctx))
		}
		sw, err := s.sweepFile(ctx, file, dryRun)
		if err != nil {
			errAll = errors.Join(errAll, err)
		}
		if sw != nil {
			all = append(all, *sw)
		}
	}
	for _, m := range s.Table.Members() {
		if !m.Alive {
			all = append(all, Swept{What: "member", Name: strconv.Itoa(m.Pid)})
		}
	}
	if !dryRun { // last: a sweep that dies before is made good by the next
		_, err = s.Table.ClearDead()
	}
	return all, errors.Join(errAll, err)
}

func (s *Space) sweepFile(ctx context.Context, file string, dryRun bool) (*Swept, error) {
	if tag, ok := strings.CutPrefix(file, segment.TempPrefix); ok {
		return s.sweepTemp(file, tag, dryRun)
	}
	name, ok := segment.ObjectName(file)
	if !ok {
		return nil, nil
	}
	f, err := s.Dir.Open(file)
	if err != nil {
		return nil, nil // gone meanwhile, or not ours to judge
	}
	defer f.Close()
	h, err := readHeader(f)
	if err != nil {
		return nil, nil
	}
	sw := &Swept{Name: name, Size: f.Size}
	switch {
	case h.State&Removed != 0:
		sw.What = "half-removed"
		if !dryRun {
			if err = mark(f, h); err == nil {
				err = s.unlink(ctx, f, file)
			}
		}
		return sw, err
	case h.Flags&Ephemeral != 0:
		sw.What = "unused"
		used, err := f.Locked(userLocks, userSlots)
		if err != nil || used {
			return nil, err
		}
		if !dryRun {
			err = s.removeUnused(f, h)
		}
		return sw, err
	}
	return nil, nil
}

func (s *Space) sweepTemp(file, tag string, dryRun bool) (*Swept, error) {
	sw := &Swept{What: "temporary", Name: file}
	f, err := s.Dir.Open(file)
	if err != nil {
		return nil, nil
	}
	defer f.Close()
	sw.Size = f.Size
	maker, _, _ := strings.Cut(tag, ".")
	if token, err := strconv.ParseUint(maker, 16, 32); err == nil {
		if !s.Table.Dead(uint32(token)) {
			return nil, nil
		}
	} else if locked, err := f.Locked(0, 1); err != nil || locked {
		return nil, err // a table of members in the making
	}
	if dryRun {
		return sw, nil
	}
	return sw, s.Dir.Unlink(file)
}
