package store

import (
	"fmt"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/table"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// Store is an open store. All methods may be called concurrently.
type Store struct {
	obj    *object.Object
	t      *table.Table
	codec  Codec
	spin   wait.Spinner
	closed atomic.Bool

	ungated bool // reading neither writes nor crashes where the memory is gone

	_            [64]byte // what each Get writes is on a line of its own
	hits, misses mem.U64
	told         [2]mem.U64 // of them, in the store's own counters
	_            [64]byte
}

// tellEvery is after how many reads a handle tells of them.
const tellEvery = 1024

// tell adds to the store's counters what this handle has counted since.
func (s *Store) tell() {
	h, m := s.hits.Load(), s.misses.Load()
	s.t.CountReads(h-s.told[0].Swap(h), m-s.told[1].Swap(m))
}

// Create makes a store; shiplap.ErrExist when the name is taken, shiplap.ErrNoSpace when the file system has no room for
// what is set aside at once.
func Create(d *shiplap.Domain, name string, opt *Options) (*Store, error) {
	if opt == nil {
		opt = &Options{}
	}
	spec, err := opt.spec()
	if err != nil {
		return nil, fmt.Errorf("create store %q: %w", name, err)
	}
	o, err := object.OfDomain(d).Create(name, spec)
	if err != nil {
		return nil, err
	}
	return newStore(o, opt)
}

// Open opens a store; shiplap.ErrIncompatible when the object is something else.
func Open(d *shiplap.Domain, name string, opt *Options) (*Store, error) {
	o, err := object.OfDomain(d).Open(name, object.Store, func(h *object.Header) ([]mem.Part, error) {
		_, err := geometryOf(h)
		return []mem.Part{{Len: int(h.Size)}}, err
	})
	if err != nil {
		return nil, err
	}
	return newStore(o, opt)
}

// OpenOrCreate opens the store, or makes it if it does not exist.
func OpenOrCreate(d *shiplap.Domain, name string, opt *Options) (*Store, error) {
	return object.OpenOrCreate(
		func() (*Store, error) { return Open(d, name, opt) },
		func() (*Store, error) { return Create(d, name, opt) })
}

// newStore takes over a share of o, also when it fails.
func newStore(o *object.Object, opt *Options) (*Store, error) {
	if opt == nil {
		opt = &Options{}
	}
	s := &Store{obj: o, codec: opt.Codec}
	switch s.codec {
	case Auto:
		s.codec = CBOR
	case CBOR, JSON:
	default:
		o.Close()
		return nil, o.Wrap(fmt.Errorf("%w: codec %q; a store has CBOR and JSON", errs.ErrUnsupported, string(opt.Codec)))
	}
	g, err := geometryOf(o.Header)
	if err == nil {
		err = object.Guarded(func() error { return o.Backed(table.Reserved(o.Ctl, g)) })
	}
	if err != nil {
		o.Close()
		return nil, o.Wrap(err)
	}
	s.t = table.Open(table.Config{
		Span: o.Ctl, Geo: g, Owners: o.Space.Table, Sess: &o.Sess, Stop: s.gone, Grow: o.Reserve, Now: opt.now,
	})
	s.ungated = mem.FaultsPanic && !s.t.Evicts()
	mode := opt.Wait
	if mode == wait.Adaptive {
		mode = o.Space.Mode
	}
	s.spin.SetMode(mode)
	return s, nil
}

// Name is the name of the store.
func (s *Store) Name() string { return s.obj.Name }

// String names the store.
func (s *Store) String() string { return fmt.Sprintf("store %q", s.obj.Name) }

// Close gives up the handle; calls that wait return shiplap.ErrClosed. Keys that are locked through it stay locked until
// Unlock, which still works.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return s.obj.Wrap(errs.ErrClosed)
	}
	_ = object.Guarded(func() error { // our share keeps the memory there
		s.tell()
		return nil
	})
	return s.obj.Close()
}

// call runs f with the memory there, unless the store was removed.
func (s *Store) call(f func() error) error {
	return s.obj.Call(func() error {
		if err := s.gone(); err != nil {
			return err
		}
		return f()
	})
}

// shut is why a call cannot begin.
func (s *Store) shut() error { return s.obj.Wrap(errs.ErrClosed) }

// removed is the look at the state word that every call begins with.
func (s *Store) removed() bool { return s.obj.Word.Load()&object.Removed != 0 }

// gone is the error of calls on a store that was removed.
func (s *Store) gone() error {
	if s.removed() {
		return errs.ErrRemoved
	}
	return nil
}

// caught is for deferred functions of calls that are spelt out because they are hot.
func (s *Store) caught(g *mem.Guard, v any, err *error) {
	g.Caught(v, err)
	*err = s.obj.Wrap(*err)
}
