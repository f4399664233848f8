package racetest

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/shared"
)

// wide is a value that does not fit into a word: all its numbers are the same.
type wide [32]uint64

func (v wide) torn() bool {
	for _, x := range v {
		if x != v[0] {
			return true
		}
	}
	return false
}

// values are a value in slots, and one in a word.
type values struct {
	*shared.Value[wide]
	word *shared.Value[uint64]
}

func (v *values) Close() error { return errors.Join(v.word.Close(), v.Value.Close()) }

// arrays are one that is changed in place, and one that is published in frames.
type arrays struct {
	*shared.Array[uint64]
	frames *shared.Array[uint64]
}

func (a *arrays) Close() error { return errors.Join(a.frames.Close(), a.Array.Close()) }

const arrayLen = 512

func init() {
	addStorm("value", storm[*values]{
		fixed: true,
		create: func(b *bout) error {
			return errors.Join(made(shared.CreateValue(b.d, object, wide{}, nil)),
				made(shared.CreateValue(b.d, object+"-word", uint64(0), nil)))
		},
		open: func(_ *worker, d *shiplap.Domain) (*values, error) {
			v, err := shared.OpenValue[wide](d, object)
			if err != nil {
				return nil, err
			}
			w, err := shared.OpenValue[uint64](d, object+"-word")
			if err != nil {
				return nil, errors.Join(err, v.Close())
			}
			return &values{v, w}, nil
		},
		turn: (*hand).valueTurn, judge: judgeValue,
	})
	addStorm("array", storm[*arrays]{
		fixed: true,
		create: func(b *bout) error {
			return errors.Join(made(shared.CreateArray[uint64](b.d, object, []int{arrayLen}, nil)),
				made(shared.CreateArray[uint64](b.d, object+"-frames", []int{arrayLen},
					&shared.ArrayOptions{Frames: 4})))
		},
		open: func(_ *worker, d *shiplap.Domain) (*arrays, error) {
			a, err := shared.OpenArray[uint64](d, object)
			if err != nil {
				return nil, err
			}
			f, err := shared.OpenArray[uint64](d, object+"-frames")
			if err != nil {
				return nil, errors.Join(err, a.Close())
			}
			return &arrays{a, f}, nil
		},
		turn:  (*hand).arrayTurn,
		judge: judgeLock(openArray),
	})
	value := func(d *shiplap.Domain, name string) (io.Closer, error) {
		return shared.CreateValue(d, name, wide{}, nil)
	}
	openValue := shared.OpenValue[wide]
	addVigil("value lock", vigil{
		create: value, hold: holdsLock(openValue), open: waitsLock(openValue),
		ends: leaving(deaths(shiplap.ErrOwnerDied), nil),
	})
	addVigil("value change", vigil{ // that nobody makes, or the victim does
		create: value, ends: quiet(),
		hold: holds(openValue,
			func(v *shared.Value[wide]) error { return v.Store(context.Background(), wide{1}) }),
		open: waits(openValue, func(ctx context.Context, v *shared.Value[wide]) error {
			_, err := v.WaitUntil(ctx, func(w wide) bool { return w[0] == 1 })
			return err
		}),
	})
	array := func(d *shiplap.Domain, name string) (io.Closer, error) {
		return shared.CreateArray[uint64](d, name, []int{arrayLen}, &shared.ArrayOptions{Frames: 2})
	}
	publish := func(ctx context.Context, a *shared.Array[uint64]) error {
		_, err := a.Publish(ctx, func([]uint64) error { return nil })
		return err
	}
	addVigil("array lock", vigil{
		hold: holdsLock(openArray), open: waitsLock(openArray), ends: leaving(deaths(shiplap.ErrOwnerDied),
			nil),
		create: func(d *shiplap.Domain, name string) (io.Closer, error) {
			return shared.CreateArray[uint64](d, name, []int{arrayLen}, nil)
		},
	})
	addVigil("array frame", vigil{
		create: array, ends: quiet(),
		hold: holds(openArray,
			func(a *shared.Array[uint64]) error { return publish(context.Background(), a) }),
		open: waits(openArray, func(ctx context.Context, a *shared.Array[uint64]) error {
			_, err := a.Watch(ctx, 0)
			return err
		}),
	})
	addVigil("array publisher", vigil{ // dies while it publishes
		create: array, open: waits(openArray, publish), ends: leaving(deaths(nil), nil),
		hold: func(d *shiplap.Domain, name string) (func() error, error) {
			a, err := openArray(d, name)
			if err != nil {
				return nil, err
			}
			inside, leave := make(chan bool), make(chan bool)
			go func() {
				_, _ = a.Publish(context.Background(),
					func([]uint64) error { close(inside); <-leave; return io.EOF })
			}()
			<-inside
			return func() error { close(leave); return nil }, nil
		},
	})
}

func openArray(d *shiplap.Domain, name string) (*shared.Array[uint64], error) {
	return shared.OpenArray[uint64](d, name)
}

// quiet are the ends of a wait that no death ends; leaving is what is waited for.
func quiet() map[way][]error {
	return map[way][]error{
		left: {nil}, closed: {shiplap.ErrClosed}, gaveup: {context.Canceled},
		removed: {shiplap.ErrRemoved}, wiped: {shiplap.ErrRemoved},
	}
}

// valueTurn changes or reads. The ledger's words count what was added.
func (h *hand) valueTurn(v *values) bool {
	if h.temper == pausing {
		h.pause()
	}
	var err error
	switch h.rng.IntN(8) {
	case 0, 1:
		ctx, within, cancel := h.context()
		defer cancel()
		err = h.call(opUpdate, within, func() error {
			_, err := v.Update(ctx, func(w *wide) error {
				if w.torn() {
					h.complain("torn", "%v updates %v", h.me(), *w)
				}
				for i := range w {
					w[i]++
				}
				return nil
			})
			if err == nil {
				h.words[0].Add(1)
			}
			return err
		})
	case 2:
		err = h.call(opStore, 0, func() error {
			_, err := shared.Add(v.word, 1)
			if err == nil {
				h.words[1].Add(1)
			}
			return err
		})
	case 3, 4:
		return h.lockTurn(v, 0)
	default:
		var w wide
		err = h.call(opLoad, 0, func() (err error) { w, err = v.Load(); return err })
		if err == nil && w.torn() {
			h.complain("torn", "%v loads %v", h.me(), w)
		}
	}
	if err != nil && !gaveUp(err) {
		return h.ends("using a value", err)
	}
	return true
}

// judgeValue: what was added is there, and no more than what the dead may have added without saying
// so.
func judgeValue(b *bout) error {
	v, err := shared.OpenValue[wide](b.d, object)
	if err != nil {
		return err
	}
	defer v.Close()
	w, err := shared.OpenValue[uint64](b.d, object+"-word")
	if err != nil {
		return err
	}
	defer w.Close()
	large, err := v.Load()
	if err != nil {
		return err
	}
	small, err := w.Load()
	if err != nil {
		return err
	}
	if large.torn() {
		b.violation("torn", fmt.Sprint(large), "")
	}
	for i, is := range []uint64{large[0], small} {
		said, died := b.ledger.words[i].Load(), b.busyAtDeath([]op{opUpdate, opStore}[i])
		b.count("changes", said)
		if is < said || is > said+uint64(died) {
			b.violationf("lost", "the value is %d; %d were added, and %d goroutines died while they added",
				is, said, died)
		}
	}
	return b.lockFree(v)
}

// arrayTurn writes or reads.
func (h *hand) arrayTurn(a *arrays) bool {
	if h.temper == pausing {
		h.pause()
	}
	var err error
	switch h.rng.IntN(8) {
	case 0, 1:
		x := h.rng.Uint64()
		ctx, within, cancel := h.context()
		defer cancel()
		err = h.call(opPublish, within, func() error {
			_, err := a.frames.Publish(ctx, func(f []uint64) error { fill(f, x); return nil })
			return err
		})
	case 2, 3:
		f := make([]uint64, arrayLen)
		err = h.call(opLoad, 0, func() error { _, err := a.frames.Latest(f); return err })
		if err == nil && unequal(f) {
			h.complain("torn", "%v sees a torn frame", h.me())
		}
	case 4:
		torn := false
		err = h.call(opLoad, 0, func() error {
			return a.frames.View(func(f []uint64, _ uint64) error { torn = unequal(f); return nil })
		})
		if err == nil && torn {
			h.complain("torn", "%v looks at a torn frame, and is not told", h.me())
		}
	case 5:
		f := make([]uint64, arrayLen)
		fill(f, h.rng.Uint64())
		ctx, within, cancel := h.context()
		defer cancel()
		err = h.call(opStore, within, func() error { return a.Replace(ctx, f) })
	case 6:
		f := make([]uint64, arrayLen)
		ctx, within, cancel := h.context()
		defer cancel()
		err = h.call(opLoad, within, func() error { return a.Snapshot(ctx, f) })
		if err == nil && unequal(f) {
			h.complain("torn", "%v has a torn snapshot, and is not told", h.me())
		}
	default:
		view, e := a.Pin()
		if e != nil {
			return h.ends("Pin", e)
		}
		h.linger()
		view.Release()
		return true
	}
	if err != nil && !gaveUp(err) && !isAny(err, []error{shiplap.ErrEmpty, shiplap.ErrConflict,
		shiplap.ErrOwnerDied, shiplap.ErrBusy}) {
		return h.ends("using an array", err)
	}
	return true
}

func fill(f []uint64, x uint64) {
	for i := range f {
		f[i] = x
	}
}

func unequal(f []uint64) bool {
	for _, x := range f {
		if x != f[0] {
			return true
		}
	}
	return false
}
