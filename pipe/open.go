package pipe

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

func space(d *shiplap.Domain) *object.Space { return object.OfDomain(d) }

// Create makes a pipe and takes its end A; shiplap.ErrExist when the name is taken.
func Create(d *shiplap.Domain, name string, opt *Options) (*End, error) {
	return create(space(d), name, opt, 0)
}

// create takes end A before anybody sees the pipe, so that there is none without one. expect is the
// token of the process that is to take end B.
func create(s *object.Space, name string, opt *Options, expect uint32) (*End, error) {
	if opt == nil {
		opt = &Options{}
	}
	o, err := makePipe(s, name, opt, func(ctl *mem.Span) {
		ctl.U32(rowBase(sideA.out()) + row.ProducerLock).Store(s.Table.Self())
		ctl.U32(rowBase(sideA.in()) + row.ConsumerLock).Store(s.Table.Self())
		ctl.U32(offOpened).Store(1 << sideA)
		ctl.U32(offExpect).Store(expect)
	})
	if err != nil {
		return nil, err
	}
	return newEnd(o, opt, sideA)
}

// makePipe makes a pipe whose control words are zero but for what init writes.
func makePipe(s *object.Space, name string, opt *Options, init func(ctl *mem.Span)) (*object.Object, error) {
	area, err := opt.area()
	if err != nil {
		return nil, fmt.Errorf("create pipe %q: %w", name, err)
	}
	desc, err := schema.Describe(reflect.TypeFor[[]byte](), schema.Raw)
	if err != nil {
		return nil, err
	}
	spec := object.Spec{
		Kind: object.Pipe, Label: opt.Label, Desc: desc,
		Parts: pipeParts(int(area)), Locks: pipeLocks(), Events: pipeEvents(),
		Init: func(r *mem.Region) { init(r.Span(0)) },
	}
	spec.Params[paramArea] = area
	if opt.Ephemeral {
		spec.Flags |= object.Ephemeral
	}
	return s.Create(name, spec)
}

// Open takes end B of a pipe: shiplap.ErrBusy when another process has it, shiplap.ErrClosed when it
// was taken before and is finished.
func Open(d *shiplap.Domain, name string, opt *Options) (*End, error) {
	return open(space(d), name, opt, sideB)
}

func open(s *object.Space, name string, opt *Options, side side) (*End, error) {
	if opt == nil {
		opt = &Options{}
	}
	o, err := s.Open(name, object.Pipe, parts)
	if err != nil {
		return nil, err
	}
	if err := take(o, side); err != nil {
		return nil, errors.Join(fmt.Errorf("open pipe %q: %w", name, o.Explain(err)), o.Close())
	}
	return newEnd(o, opt, side)
}

// errMoment says that another process is at the end at this moment, and will have it or have let go of
// it in the next.
var errMoment = fmt.Errorf("%w: another process is just trying to take this end", errs.ErrBusy)

// take takes the locks of an end. A death before the bit is set leaves an end that can be taken
// again, a death after it one that is finished.
func take(o *object.Object, s side) (err error) {
	g := mem.Protect()
	defer g.Recover(&err)
	if expect := o.Ctl.U32(offExpect).Load(); s == sideB && expect != 0 && expect != o.Space.Table.Self() {
		return fmt.Errorf("%w: this end is for the process that was dialled", errs.ErrBusy)
	}
	opened := o.Ctl.U32(offOpened)
	if opened.Load()&(1<<s) != 0 { // asked before the lock is touched: others may be asking, too
		return wasTaken(o, s)
	}
	out := view(o, s.out(), wait.Adaptive, &o.Sess)
	in := view(o, s.in(), wait.Adaptive, &o.Sess)
	if ok, _ := out.ProducerLock.TryLock(); !ok {
		return errMoment
	}
	if opened.Load()&(1<<s) != 0 {
		out.ProducerLock.Unlock()
		return wasTaken(o, s)
	}
	if ok, _ := in.ConsumerLock.TryLock(); !ok {
		out.ProducerLock.Unlock()
		return fmt.Errorf("%w: another process has the receiving side of this end", errs.ErrBusy)
	}
	opened.Or(1 << s) // the commit point
	return nil
}

// wasTaken is why an end that was taken once is not to be had.
func wasTaken(o *object.Object, s side) error {
	sending := lockOwner(o, rowBase(s.out())+row.ProducerLock)
	receiving := lockOwner(o, rowBase(s.in())+row.ConsumerLock)
	switch {
	case sideFinished(o, s):
		return fmt.Errorf("%w: end %v was taken before, and is finished", errs.ErrClosed, s)
	case sending == receiving:
		return fmt.Errorf("%w: end %v is taken", errs.ErrBusy, s)
	}
	return errMoment
}

const (
	openRounds = 100
	openPause  = 5 * time.Millisecond // the longest between rounds
)

// OpenOrCreate takes the free end of the pipe, or makes it if it does not exist. A pipe of that name
// whose ends are both finished is removed first.
func OpenOrCreate(d *shiplap.Domain, name string, opt *Options) (*End, error) {
	var err error
	for round := range openRounds {
		var e *End
		e, err = openUnlessFinished(space(d), name, opt)
		if errors.Is(err, fs.ErrNotExist) {
			e, err = Create(d, name, opt)
		}
		if err == nil {
			return e, nil
		}
		// Others open, finish, remove and make it at the same time: what was true of the pipe that we looked at
		// may not be true of the one that has the name now.
		if !errors.Is(err, errMoment) && !errors.Is(err, errs.ErrRemoved) && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		time.Sleep(min(time.Duration(round)*50*time.Microsecond, openPause))
	}
	return nil, fmt.Errorf("pipe %q was neither opened nor made in %d tries: %w", name, openRounds, err)
}

// openUnlessFinished is open, but removes a pipe whose ends are both finished: errs.ErrRemoved. It
// removes the object that it has looked at, so that a pipe which others made under the same name
// meanwhile stays.
func openUnlessFinished(s *object.Space, name string, opt *Options) (*End, error) {
	if opt == nil {
		opt = &Options{}
	}
	o, err := s.Open(name, object.Pipe, parts)
	if err != nil {
		return nil, err
	}
	free, err := takeFree(o)
	if err == nil {
		if err = o.Err(); err == nil {
			return newEnd(o, opt, free)
		}
	}
	if errors.Is(err, errs.ErrClosed) {
		var both bool
		if e := object.Guarded(func() error { both = bothFinished(o); return nil }); e != nil {
			err = e
		} else if both {
			err = errs.ErrRemoved
			if e := o.Remove(); e != nil {
				err = e
			}
		}
	}
	return nil, errors.Join(fmt.Errorf("open pipe %q: %w", name, o.Explain(err)), o.Close())
}

// takeFree takes end B, or end A if that is the one which is free: nobody has taken it of a Pair.
func takeFree(o *object.Object) (side, error) {
	err := take(o, sideB)
	if err == nil {
		return sideB, nil
	}
	free := false
	_ = object.Guarded(func() error {
		free = o.Ctl.U32(offOpened).Load()&(1<<sideA) == 0
		return nil
	})
	if !free {
		return 0, err
	}
	return sideA, take(o, sideA)
}

func bothFinished(o *object.Object) bool {
	if o.Ctl.U32(offOpened).Load() != 1<<sideA|1<<sideB {
		return false
	}
	for _, s := range []side{sideA, sideB} {
		if !sideFinished(o, s) {
			return false
		}
	}
	return true
}

// sideFinished reports that a side was taken and is over: closed both ways, or its process is dead.
func sideFinished(o *object.Object, s side) bool {
	if o.Ctl.U32(offOpened).Load()&(1<<s) == 0 {
		return false
	}
	outState := o.Ctl.U32(offStates + 4*s.out()).Load()
	inState := o.Ctl.U32(offStates + 4*s.in()).Load()
	return outState&row.Closed != 0 && inState&row.Deaf != 0 || holderDead(o, s)
}

// holderDead reports that the process that took a side died with it. (A side that is closed says so in the
// state words before the lock is given back.)
func holderDead(o *object.Object, s side) bool {
	t := lockOwner(o, rowBase(s.out())+row.ProducerLock)
	return t == 0 || o.Space.Table.Dead(t)
}

func lockOwner(o *object.Object, off int) uint32 { return o.Ctl.U32(off).Load() &^ (1 << 31) }

func view(o *object.Object, i int, mode wait.Mode, sess *wait.Session) *row.Queue {
	return row.OpenQueue(row.Config{
		Ctl: o.Ctl, Base: rowBase(i), Area: o.Region.Span(1 + i), State: o.Ctl.U32(offStates + 4*i), Object: o.Word,
		Owners: o.Space.Table, Sess: sess, Mode: mode,
	}, false)
}
