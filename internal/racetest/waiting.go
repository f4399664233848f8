package racetest

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/shiplap-ipc/shiplap"
)

// Each vigil says by functions of these three shapes what is made, held and waited for.
type (
	// creating makes an object; what it returns is closed when nobody needs it any more.
	creating = func(d *shiplap.Domain, name string) (io.Closer, error)
	// holding takes something of an object; leave gives it back in an orderly way.
	holding = func(d *shiplap.Domain, name string) (leave func() error, err error)
	// opening opens an object, so that it can be waited for.
	opening = func(d *shiplap.Domain, name string) (waiting, error)
)

// waiting is what waits.
type waiting struct {
	wait  func(ctx context.Context) error
	close func() error
}

// makes creates an object with options.
func makes[T io.Closer, O any](create func(*shiplap.Domain, string, O) (T, error), opt O) creating {
	return func(d *shiplap.Domain, name string) (io.Closer, error) { return create(d, name, opt) }
}

// holds takes what is given back by leave.
func holds[T any](take func(*shiplap.Domain, string) (T, error), leave func(T) error) holding {
	return func(d *shiplap.Domain, name string) (func() error, error) {
		obj, err := take(d, name)
		return func() error { return leave(obj) }, err
	}
}

// waits opens an object and makes one call.
func waits[T io.Closer](open func(*shiplap.Domain, string) (T, error),
	call func(context.Context, T) error) opening {
	return func(d *shiplap.Domain, name string) (waiting, error) {
		obj, err := open(d, name)
		if err != nil {
			return waiting{}, err
		}
		return waiting{func(ctx context.Context) error { return call(ctx, obj) }, obj.Close}, nil
	}
}

// waitsFull is waits for a call that fills something up, and waits when it is full.
func waitsFull[T io.Closer](open func(*shiplap.Domain, string) (T, error),
	call func(context.Context, T) error) opening {
	return func(d *shiplap.Domain, name string) (waiting, error) {
		w, err := waits(open, call)(d, name)
		if err == nil {
			err = untilFull(w.wait)
		}
		return w, err
	}
}

// untilFull repeats what fills something up, until it would wait.
func untilFull(f func(ctx context.Context) error) error {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		err := f(ctx)
		cancel()
		if gaveUp(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// mutual is a lock as vigils use it.
type mutual interface {
	io.Closer
	Lock(ctx context.Context) error
	Unlock() error
}

// waitsLock opens a lock, takes it and gives it back. The error says how it was had.
func waitsLock[T mutual](open func(*shiplap.Domain, string) (T, error)) opening {
	return waits(open, func(ctx context.Context, l T) error {
		err := l.Lock(ctx)
		if err == nil || errors.Is(err, shiplap.ErrOwnerDied) {
			err = errors.Join(err, l.Unlock())
		}
		return err
	})
}

// holdsLock is a victim that has a lock.
func holdsLock[T mutual](open func(*shiplap.Domain, string) (T, error)) holding {
	return holds(func(d *shiplap.Domain, name string) (T, error) {
		l, err := open(d, name)
		if err == nil {
			err = l.Lock(context.Background())
		}
		return l, err
	}, T.Unlock)
}

// part is something that was taken of an object: a side of a queue, say.
type part[P io.Closer] struct {
	own P
	of  io.Closer
}

func (p part[P]) Close() error { return errors.Join(p.own.Close(), p.of.Close()) }

// giveBack gives only the part back.
func (p part[P]) giveBack() error { return p.own.Close() }

// takes opens an object and takes a part of it.
func takes[T, P io.Closer](
	open func(*shiplap.Domain, string) (T, error), take func(T) (P, error),
) func(*shiplap.Domain, string) (part[P], error) {
	return func(d *shiplap.Domain, name string) (p part[P], err error) {
		obj, err := open(d, name)
		if err != nil {
			return p, err
		}
		own, err := take(obj)
		return part[P]{own, obj}, err
	}
}
