package object

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/member"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

// Swept is one thing that a sweep took away, or would have.
type Swept struct {
	What string // "temporary", "unused", "half-removed", "member", or what no object is: "symbolic link", say
	Name string // of the object or file
	Size int64
}

// What a sweep does rests on what the kernel tells: names, locks, and what kind of file there is. From bytes that a peer may have
// written it takes two bits, "goes with its last user" and "removed", of a header that was checked whole; wrong ones can
// cost the very object that they stand in, which the peer could have unlinked as well, and no other.
//
// In this order:
//
//  1. The dead members are noted, then the directory is read: it holds all that they left.
//  2. Temporaries of the dead go. Their names say whose they are.
//  3. Objects are opened, one bucket of names after the other, and go if they are half removed, or ephemeral and unused.
//  4. For the dead that were noted, it is written down which buckets are done; a slot whose last bucket that was is free.
//
// A sweep may stop after any bucket, or die anywhere: the slots of the dead say that there is work left, and where the next
// sweep goes on. For that reason they are cleared last, and no slot of one that died later, whose leftovers were
// not looked for.

// Sweep removes what provably nobody can use any more: temporaries whose maker is dead, objects made to go with their
// users that have none, names of objects that are already marked as removed, the member slots of the dead, and
// what is no object and never can be: symbolic links, FIFOs, sockets, devices, empty directories. What cannot be proved is kept.
func (s *Space) Sweep(ctx context.Context, dryRun bool) ([]Swept, error) {
	w := sweep{space: s, ctx: ctx, dryRun: dryRun, all: true}
	err := w.run()
	return w.found, err
}

// someLooks is how much SweepSome does whatever the clock says, so that sweeps come to an end on a slow or busy machine as
// well: a look at an object takes two microseconds.
const (
	someLooks = 2500
	removal   = 50 // looks
)

// SweepSome does as much of a sweep for the dead as fits in that time, and leaves the rest to others.
func (s *Space) SweepSome(most time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	w := sweep{space: s, ctx: ctx, least: someLooks}
	return w.run()
}

type sweep struct {
	space  *Space
	ctx    context.Context
	dryRun bool
	all    bool // all buckets, and what is no object
	least  int  // looks that are taken even if time is up
	looks  int  // taken
	found  []Swept
	faults []error
}

func (w *sweep) run() error {
	dead := w.space.Table.Leftovers()
	files, err := w.space.Dir.Files()
	if err != nil {
		return err
	}
	var objects [member.Buckets][]string
	for _, file := range files {
		if tag, ok := strings.CutPrefix(file, segment.TempPrefix); ok {
			if w.over() {
				return w.stopped()
			}
			w.temp(file, tag)
		} else if _, ok := segment.ObjectName(file); ok {
			b := bucket(file)
			objects[b] = append(objects[b], file)
		}
	}
	start, most := w.plan(dead)
	done := 0
	for ; done < most; done++ {
		for _, file := range objects[(start+done)%member.Buckets] {
			if w.over() || !w.object(file) {
				w.note(dead, start, done)
				return w.stopped()
			}
		}
	}
	w.note(dead, start, done)
	return errors.Join(w.faults...)
}

// over reports that the sweep has to stop.
func (w *sweep) over() bool {
	if w.looks++; w.looks <= w.least {
		return false
	}
	end, ok := w.ctx.Deadline()
	return w.ctx.Err() != nil || ok && !time.Now().Before(end)
}

// stopped is the error of a sweep that has not come to its end.
func (w *sweep) stopped() error {
	if len(w.faults) == 0 {
		w.fault(cmp.Or(context.Cause(w.ctx), context.DeadlineExceeded))
	}
	return errors.Join(w.faults...)
}

func (w *sweep) fault(err error) {
	if err != nil {
		w.faults = append(w.faults, err)
	}
}

// bucket is where a name belongs: FNV-1a of 32 bits, so that all programs go through the names in one order.
func bucket(file string) int {
	h := uint32(2166136261)
	for i := range len(file) {
		h = (h ^ uint32(file[i])) * 16777619
	}
	return int(h % member.Buckets)
}

// plan says where to begin and how far to go: on with the dead one that has the least left, so that each is done some
// day, however many die; for the first sweep anywhere.
func (w *sweep) plan(dead []member.Leftover) (start, most int) {
	start, least := anywhere(w.space.Table.Self()), member.Buckets
	for _, l := range dead {
		if l.Next >= 0 && l.Left <= least {
			start, least = l.Next, l.Left
		}
	}
	for _, l := range dead {
		if l.Next < 0 || l.Next == start {
			most = max(most, l.Left)
		}
	}
	if w.all {
		most = member.Buckets
	}
	return start, most
}

// anywhere is where a member begins that cannot go on with what another one began. Members that follow each other begin far
// from each other.
func anywhere(self uint32) int { return int(self * 2654435769 >> 22 % member.Buckets) }

// note writes down that so many buckets from start on were looked at since these died.
func (w *sweep) note(dead []member.Leftover, start, done int) {
	for _, l := range dead {
		at := (start + done) % member.Buckets
		switch {
		case done == member.Buckets:
			l.Left = 0
		case l.Next < 0 || l.Next == start:
			l.Left = max(l.Left-done, 0)
		default:
			continue
		}
		l.Next = at
		if w.dryRun {
			w.found = append(w.found, Swept{What: "member", Name: strconv.Itoa(l.Pid)})
			continue
		}
		ok, err := w.space.Table.Advance(l)
		w.fault(err)
		if ok && l.Left == 0 {
			w.found = append(w.found, Swept{What: "member", Name: strconv.Itoa(l.Pid)})
		}
	}
}

// object looks at one object. It is false if the names are locked for long, so that nothing can be taken away now.
func (w *sweep) object(file string) bool {
	name, _ := segment.ObjectName(file)
	f, err := w.space.Dir.Open(file)
	if err != nil {
		if w.all && (errors.Is(err, errs.ErrCorrupt) || errors.Is(err, fs.ErrPermission)) {
			return w.thing(file, name)
		}
		return true // gone meanwhile, or not ours to judge
	}
	defer f.Close()
	if !mayGo(f) {
		return true
	}
	h, err := readHeader(f)
	if err != nil {
		return true
	}
	sw := Swept{Name: name, Size: f.Size}
	switch {
	case h.State&Removed != 0:
		sw.What = "half-removed"
		return w.take(sw, func() error {
			if err := w.space.mark(f, h); err != nil {
				return err
			}
			return w.unlink(f, file)
		})
	case h.Flags&Ephemeral != 0:
		sw.What = "unused"
		if used, err := f.Locked(userLocks, userSlots); err != nil || used {
			w.fault(err)
			return true
		}
		return w.take(sw, func() error { return w.space.removeUnused(f, h, w.unlink) })
	}
	return true
}

// take takes something away.
func (w *sweep) take(sw Swept, remove func() error) bool {
	if !w.dryRun {
		w.looks += removal
		if err := remove(); err != nil {
			w.fault(fmt.Errorf("sweep %q: %w", sw.Name, err))
			return !errors.Is(err, errs.ErrBusy)
		}
	}
	w.found = append(w.found, sw)
	return true
}

// patience is how long a sweep waits for the name lock.
func (w *sweep) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(w.ctx, insist)
}

func (w *sweep) unlink(f *segment.File, file string) error {
	ctx, cancel := w.patience()
	defer cancel()
	return w.space.unlink(ctx, f, file)
}

// mayGo is a first look, at the two words that decide, for most objects stay.
func mayGo(f *segment.File) bool {
	var b [offState + 4]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return false
	}
	return binary.LittleEndian.Uint32(b[offFlags:])&Ephemeral != 0 || binary.LittleEndian.Uint32(b[offState:])&Removed != 0
}

// thing takes away what is no object, if nothing can be lost with it.
func (w *sweep) thing(file, name string) bool {
	t, err := w.space.Dir.Thing(file)
	if err != nil || t.Regular() || t.IsDir() && !w.space.Dir.Empty(file) {
		return true
	}
	return w.take(Swept{What: t.String(), Name: name}, func() error {
		ctx, cancel := w.patience()
		defer cancel()
		return w.space.removeThing(ctx, file, t)
	})
}

// temp takes away a temporary whose maker is dead. Its name says who that is; but whatever stands in the table of
// members, no lock of a user may be on the file.
func (w *sweep) temp(file, tag string) {
	maker, _, _ := strings.Cut(tag, ".")
	token, err := strconv.ParseUint(maker, 16, 32)
	first, n := userLocks, int64(userSlots)
	if err != nil {
		first, n = 0, 1 // a table of members in the making
	} else if !w.space.Table.Dead(uint32(token)) {
		return
	}
	f, err := w.space.Dir.Open(file)
	if err != nil {
		return
	}
	defer f.Close()
	if locked, err := f.Locked(first, n); err != nil || locked {
		w.fault(err)
		return
	}
	w.take(Swept{What: "temporary", Name: file, Size: f.Size}, func() error { return w.space.Dir.Unlink(file) })
}
