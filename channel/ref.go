package channel

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/message"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// Ref is a reference to one side of a channel of messages of type U. It is plain data, to be sent in messages through
// CBOR or JSON, as often and as far as one likes.
type Ref[U any] struct {
	Domain string `json:"domain"`
	Name   string `json:"name"`
	Side   Side   `json:"side"` // that Open opens
	ID     string `json:"id"`   // of the very channel: another one that gets its name is not meant
}

// Ref is a reference to a side of this channel. An ephemeral channel stays while this handle is open, and, if it is
// closed before somebody has opened that side once for each reference made, for Options.Lend more. To whoever is at
// the other side, that is as if somebody had this side open.
func (c *Channel[T]) Ref(s Side) (Ref[T], error) {
	id, err := c.Raw().lend(s)
	if err != nil {
		return Ref[T]{}, err
	}
	return Ref[T]{Domain: c.raw.obj.Space.Name, Name: c.raw.obj.Name, Side: s, ID: id}, nil
}

// String names what it refers to.
func (f Ref[U]) String() string {
	return fmt.Sprintf("reference to side %.20q of channel %q in domain %q", string(f.Side), f.Name, f.Domain)
}

// Open opens the side that the reference names; opt.Side does not count. shiplap.ErrNotExist says that the channel is
// gone: all who had it open closed it or died before.
func (f Ref[U]) Open(d *shiplap.Domain, opt *Options) (*Channel[U], error) {
	fail := func(err error) (*Channel[U], error) { return nil, fmt.Errorf("open %v: %w", f, err) }
	if f.Domain != d.Name() {
		return fail(fmt.Errorf("%w: this is domain %q", errs.ErrNotExist, d.Name()))
	}
	if f.Side != SideA && f.Side != SideB {
		return fail(fmt.Errorf("%w: a channel has the sides %q and %q", errs.ErrName, SideA, SideB))
	}
	o := opt.orDefault()
	o.Side = f.Side
	c, err := message.New[U](o.Codec)
	if err != nil {
		return fail(err)
	}
	raw, err := open(space(d), f.Name, o, sideB, func(obj *object.Object) error {
		if id := idOf(obj); id != f.ID {
			return fmt.Errorf("%w: another channel has that name now", errs.ErrNotExist)
		}
		return c.Matches(obj.Desc, obj.DescHash)
	})
	if errors.Is(err, errs.ErrNotExist) || errors.Is(err, errs.ErrRemoved) {
		err = fmt.Errorf("%w: it is gone, all who had it open closed it or died (%w)", errs.ErrNotExist, err)
	}
	if err != nil {
		return fail(err)
	}
	return newChannel(raw, c), nil
}

// idOf is the random number of a channel, as text: not every JSON reader keeps 64 bits.
func idOf(o *object.Object) string { return strconv.FormatUint(o.Params[paramID], 16) }

// lending is what a handle promised to keep for others.
type lending struct {
	until uint32 // it is kept until the side was opened that often
	any   bool
}

func (l lending) open(opens uint32) bool { return l.any && int32(l.until-opens) > 0 }

func (r *Raw) lend(s Side) (id string, err error) {
	n, err := s.number(-1)
	if err == nil && n < 0 {
		err = fmt.Errorf("%w: a reference is to side %q or %q", errs.ErrName, SideA, SideB)
	}
	if err != nil {
		return "", fmt.Errorf("channel %q: %w", r.obj.Name, err)
	}
	err = r.call(func() error {
		r.lendMu.Lock()
		defer r.lendMu.Unlock()
		l, opens := &r.lent[n], r.opens(n).Load()
		if !l.open(opens) {
			l.until = opens
		}
		l.until++
		l.any = true
		return r.obj.Err()
	})
	return idOf(r.obj), err
}

// keep takes, when the handle is closed, the places of those who are still to come, on their sides, and returns
// these.
func (r *Raw) keep() (held []side) {
	if r.obj.Flags&object.Ephemeral == 0 || r.obj.Err() != nil {
		return nil
	}
	for _, s := range []side{sideA, sideB} {
		if r.lent[s].open(r.opens(s).Load()) && r.count(s) {
			held = append(held, s)
		}
	}
	return held
}

// keeper holds sides until they are opened or time is up, then closes the object, which nobody else does when there
// is a keeper.
func (r *Raw) keeper(held []side) {
	defer r.obj.Close()
	ctx, cancel := context.WithTimeout(context.Background(), r.opt.Lend)
	defer cancel()
	sess := wait.Session{Check: r.obj.Err, Verify: r.obj.Verify}
	_ = object.Guarded(func() error {
		for _, s := range held {
			if err := sess.Wait(ctx, opened{r, s}); err != nil && r.lent[s].open(r.opens(s).Load()) {
				r.opens(s).Add(1) // nobody came: those on the other side wait in vain
			}
			r.leave(s)
		}
		return nil
	})
}

// opened is what a keeper waits for.
type opened struct {
	r *Raw
	s side
}

// Look implements wait.Until.
func (w opened) Look(c *wait.Call) (over bool, err error) {
	c.Arm(w.r.event(rowBase(w.s.out()) + row.NotFull))
	return !w.r.lent[w.s].open(w.r.opens(w.s).Load()), nil
}

// Abandon implements wait.Until: all who wait are woken, so nothing is used up.
func (w opened) Abandon() {}

// Stale implements wait.Until.
func (w opened) Stale() bool {
	return !w.r.lent[w.s].open(w.r.opens(w.s).Load()) || w.r.obj.Word.Load()&object.Removed != 0
}
