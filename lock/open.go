package lock

import (
	"fmt"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
)

// Options of all the types here. The zero value is good. They count only for who makes the object.
type Options struct {
	// Ephemeral removes the object with its last user, also when that dies.
	Ephemeral bool
	// Label is free text for people, up to 256 bytes.
	Label string
}

// ctlSize is the header page and one page of control words, all that most types have.
const ctlSize = object.HeaderSize + 4096

func (o *Options) fill(s object.Spec) object.Spec {
	if s.Parts == nil {
		s.Parts = []mem.Part{{Len: ctlSize}}
	}
	if o != nil {
		s.Label = o.Label
		if o.Ephemeral {
			s.Flags |= object.Ephemeral
		}
	}
	return s
}

func create[T any](d *shiplap.Domain, name string, s object.Spec, handle func(*object.Object) (T, error)) (t T, err error) {
	o, err := object.OfDomain(d).Create(name, s)
	if err != nil {
		return t, err
	}
	return finish(o, handle)
}

func open[T any](d *shiplap.Domain, name string, kind object.Kind, parts []mem.Part, handle func(*object.Object) (T, error)) (t T, err error) {
	if parts == nil {
		parts = []mem.Part{{Len: ctlSize}}
	}
	o, err := object.OfDomain(d).Open(name, kind, func(*object.Header) ([]mem.Part, error) { return parts, nil })
	if err != nil {
		return t, err
	}
	return finish(o, handle)
}

func finish[T any](o *object.Object, handle func(*object.Object) (T, error)) (T, error) {
	t, err := handle(o)
	if err != nil {
		o.Close()
	}
	return t, err
}

// base is what the handles have in common.
type base struct {
	obj    *object.Object
	closed atomic.Bool
}

// close gives up the object, once.
func (b *base) close() error {
	if b.closed.Swap(true) {
		return nil
	}
	return b.obj.Close()
}

// Name is the name of the object.
func (b *base) Name() string { return b.obj.Name }

// String names the object.
func (b *base) String() string { return fmt.Sprintf("%s %q", b.obj.Kind, b.obj.Name) }

// number checks a count that a creator gives.
func number(what string, n, least int) error {
	if n < least || n > MaxCount {
		return fmt.Errorf("%w: %s is %d, possible are %d to %d", errs.ErrTooLarge, what, n, least, MaxCount)
	}
	return nil
}

// MaxCount bounds permits of a semaphore and parties of a barrier.
const MaxCount = 1<<31 - 1
