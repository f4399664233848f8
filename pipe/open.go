package pipe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/ring"
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
		Init: func(r *mem.Region) {
			ctl, self := r.Span(0), s.Table.Self()
			ctl.U32(ringBase(sideA.out()) + ring.ProducerLock).Store(self)
			ctl.U32(ringBase(sideA.in()) + ring.ConsumerLock).Store(self)
			ctl.U32(offOpened).Store(1 << sideA)
			ctl.U32(offExpect).Store(expect)
		},
	}
	spec.Params[paramArea] = area
	if opt.Ephemeral {
		spec.Flags |= object.Ephemeral
	}
	o, err := s.Create(name, spec)
	if err != nil {
		return nil, err
	}
	return newEnd(o, opt, sideA)
}

// Open takes end B of a pipe: shiplap.ErrBusy when another process has it, shiplap.ErrClosed when it
// was taken before and is finished.
func Open(d *shiplap.Domain, name string, opt *Options) (*End, error) {
	return open(space(d), name, opt)
}

func open(s *object.Space, name string, opt *Options) (*End, error) {
	if opt == nil {
		opt = &Options{}
	}
	o, err := s.Open(name, object.Pipe, parts)
	if err != nil {
		return nil, err
	}
	if err := takeB(o); err != nil {
		return nil, errors.Join(fmt.Errorf("open pipe %q: %w", name, o.Explain(err)), o.Close())
	}
	return newEnd(o, opt, sideB)
}

// takeB takes the locks of end B. A death before the bit is set leaves an end that can be taken
// again, a death after it one that is finished.
func takeB(o *object.Object) (err error) {
	g := mem.Protect()
	defer g.Recover(&err)
	out := view(o, sideB.out(), wait.Adaptive, &o.Sess)
	in := view(o, sideB.in(), wait.Adaptive, &o.Sess)
	ok, _ := out.ProducerLock.TryLock()
	if !ok {
		return fmt.Errorf("%w: another process has this end", errs.ErrBusy)
	}
	opened := o.Ctl.U32(offOpened)
	if opened.Load()&(1<<sideB) != 0 {
		out.ProducerLock.Unlock()
		return fmt.Errorf("%w: both ends were taken before, and this one is finished", errs.ErrClosed)
	}
	if ok, _ := in.ConsumerLock.TryLock(); !ok {
		out.ProducerLock.Unlock()
		return fmt.Errorf("%w: another process has the receiving side of this end", errs.ErrBusy)
	}
	opened.Or(1 << sideB) // the commit point
	return nil
}

// OpenOrCreate takes the free end of the pipe, or makes it if it does not exist. A pipe of that name
// whose ends are both finished is removed first.
func OpenOrCreate(d *shiplap.Domain, name string, opt *Options) (*End, error) {
	for {
		e, err := Open(d, name, opt)
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, errs.ErrClosed):
			done, e := finished(space(d), name)
			if e != nil || !done {
				return nil, errors.Join(err, e)
			}
			if e := d.Remove(context.Background(), name); e != nil && !errors.Is(e, fs.ErrNotExist) {
				return nil, e
			}
		default:
			return nil, err
		}
		if err == nil {
			return e, nil
		}
		e, err = Create(d, name, opt)
		if !errors.Is(err, fs.ErrExist) {
			return e, err
		}
	}
}

// finished reports whether both ends of a pipe were taken once and nobody has either now.
func finished(s *object.Space, name string) (done bool, err error) {
	o, err := s.Open(name, object.Pipe, parts)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer o.Close()
	g := mem.Protect()
	defer g.Recover(&err)
	return bothFinished(o), nil
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
	return outState&ring.Closed != 0 && inState&ring.Deaf != 0 || holderDead(o, s)
}

// holderDead reports that the process that took a side died with it. (Who closes a side says so in
// the state words before he gives the lock back.)
func holderDead(o *object.Object, s side) bool {
	t := lockOwner(o, ringBase(s.out())+ring.ProducerLock)
	return t == 0 || o.Space.Table.Dead(t)
}

func lockOwner(o *object.Object, off int) uint32 { return o.Ctl.U32(off).Load() &^ (1 << 31) }

func view(o *object.Object, i int, mode wait.Mode, sess *wait.Session) *ring.Ring {
	return ring.Open(ring.Config{
		Ctl: o.Ctl, Base: ringBase(i), Area: o.Region.Span(1 + i), State: o.Ctl.U32(offStates + 4*i), Object: o.Word,
		Owners: o.Space.Table, Sess: sess, Mode: mode,
	})
}
