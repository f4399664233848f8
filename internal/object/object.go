package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/internal/segment"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// Object is an open object: mapped memory, and what all handles on it share. It begins with one
// share; the memory goes when all shares and calls are over.
type Object struct {
	*Header
	Name   string
	Space  *Space
	Region *mem.Region
	Ctl    *mem.Span // header page and control words
	Word   *mem.U32  // the state word
	Gate   Gate
	Sess   wait.Session // waits that end when the object is closed here

	file    *segment.File
	shares  atomic.Int32
	lingers atomic.Bool
	closed  atomic.Bool // here: its last share was given up
	lost    atomic.Bool // we were the first to notice that its file is gone
}

// Spec is what an object is to be made of.
type Spec struct {
	Kind   Kind
	Flags  uint32
	Label  string
	Desc   schema.Descriptor
	Params [Params]uint64
	Parts  []mem.Part // the first holds the header page and the control words
	// Reserve is how many bytes of the file, from its start, are set aside at birth, 0 for all. Nobody touches the others
	// before Object.Reserve.
	Reserve int64
	Locks   []LockAt
	Events  []int
	Init    func(*mem.Region) // everything that is not zero
}

// userLocks is where in a file the locks of its users lie, one byte a member slot, far behind any
// data. They tell who has the object open and vanish with him.
const (
	userLocks = int64(1) << 40
	userSlots = 1 << 10
)

// Create makes an object; errs.ErrExist when the name is taken.
func (s *Space) Create(name string, spec Spec) (*Object, error) {
	fail := func(err error) (*Object, error) {
		return nil, fmt.Errorf("create %s %q: %w", spec.Kind, name, err)
	}
	file, err := segment.FileName(name)
	if err != nil {
		return fail(err)
	}
	if len(spec.Label) > maxLabel || len(spec.Desc.Text) > maxDesc {
		return fail(fmt.Errorf("%w: a label has at most %d bytes, a type descriptor %d", errs.ErrTooLarge, maxLabel, maxDesc))
	}
	if err := s.Retain(); err != nil {
		return fail(err)
	}
	o, err := s.create(name, file, spec)
	if err != nil {
		s.Release()
		return fail(err)
	}
	return o, nil
}

func (s *Space) create(name, file string, spec Spec) (*Object, error) {
	if s.Visit {
		return nil, s.onlyVisited()
	}
	var size int64
	for _, p := range spec.Parts {
		size += int64(p.Len)
	}
	reserve := size
	if spec.Reserve > 0 {
		reserve = min(spec.Reserve, size)
	}
	if err := s.here(); err != nil {
		return nil, err
	}
	f, err := s.Dir.Temp(fmt.Sprintf("%08x.%08x", s.Table.Self(), rand.Uint32()))
	if err != nil {
		return nil, err
	}
	o := &Object{Name: name, Space: s, file: f, Header: &Header{
		Kind: spec.Kind, Size: size, Flags: spec.Flags, Label: spec.Label, Params: spec.Params,
		Token: s.Table.Self(), Pid: os.Getpid(), Created: time.Now(),
		Desc: spec.Desc.Text, DescHash: spec.Desc.Hash, Locks: spec.Locks, Events: spec.Events,
	}}
	abandon := func(err error) (*Object, error) {
		f.Discard()
		o.unmap()
		return nil, err
	}
	if err := o.attach(); err != nil { // first: the lock keeps sweeps away
		return abandon(err)
	}
	if err := f.Fill(size, reserve); err != nil {
		return abandon(err)
	}
	if err := o.mapParts(spec.Parts); err != nil {
		return abandon(err)
	}
	if err := o.write(spec.Init); err != nil {
		return abandon(err)
	}
	if err := s.publish(f, file); err != nil {
		return abandon(err)
	}
	s.opened(o)
	return o, nil
}

// turns bounds what is tried again because others create and remove the same name meanwhile.
const turns = 1000

// publish gives the file its name. A name that is only that of a half-removed object is taken away first.
func (s *Space) publish(f *segment.File, file string) error {
	for range turns {
		err := f.Publish(file)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), insist)
		done, err := s.finishRemoval(ctx, file)
		cancel()
		if t, e := s.Dir.Thing(file); e == nil && !t.Ours() {
			return fmt.Errorf("%w: the name is taken by a %s that is no object\nshiplap rm takes it away", errs.ErrExist, t)
		}
		if err != nil {
			return err
		}
		if !done {
			return fmt.Errorf("%w: the name is taken", errs.ErrExist)
		}
	}
	return fmt.Errorf("%w: the name was given to another object, and taken from it, %d times in a row", errs.ErrBusy, turns)
}

func (o *Object) write(init func(*mem.Region)) (err error) {
	g := mem.Protect()
	defer g.Recover(&err)
	o.Header.write(o.Ctl)
	if init != nil {
		init(o.Region)
	}
	g.Done = true
	return nil
}

// attach takes this process's user lock.
func (o *Object) attach() error {
	pauseBefore("attach")
	slot := int64(o.Space.Table.Slot())
	for i := 0; ; i++ {
		ok, err := o.file.LockShared(userLocks+slot, 1)
		if err != nil {
			return fmt.Errorf("lock %s: %w", o.file.Path(), err)
		}
		if ok {
			return nil
		}
		// Somebody is finding out just now that the object has no users, and takes it away.
		if i > 2000 {
			return fmt.Errorf("%w: somebody has been removing it for seconds", errs.ErrBusy)
		}
		time.Sleep(time.Millisecond)
	}
}

func (o *Object) mapParts(parts []mem.Part) (err error) {
	var size int64
	for _, p := range parts {
		size += int64(p.Len)
	}
	if size != o.Size {
		return fmt.Errorf("%w: %d bytes for a %s that says %d", errs.ErrCorrupt, o.Size, o.Kind, size)
	}
	as := mem.Map
	if o.Space.Visit {
		as = mem.MapRead
	}
	if o.Region, err = as(o.file.Fd(), parts...); err != nil {
		return err
	}
	o.Ctl = o.Region.Span(0)
	o.Word = o.Ctl.U32(offState)
	o.shares.Store(1)
	o.Gate.out = o.leave
	o.Sess.Check, o.Sess.Verify = o.Err, o.Verify
	return nil
}

// lingerMost is the largest object whose memory may linger.
const lingerMost = 64 << 10

// Linger arranges, if the object is small, that its memory stays mapped after the last Close for as long as
// anything in this process refers to the object: until the collector finds it unreachable. Then calls may touch
// the memory first and look afterwards whether the gate is open, instead of entering it. Lent slices do
// not keep the object reachable.
func (o *Object) Linger() bool {
	if o.Size <= lingerMost {
		o.lingers.Store(true)
	}
	return o.lingers.Load()
}

func (o *Object) unmap() {
	switch {
	case o.Region == nil:
	case o.lingers.Load():
		runtime.AddCleanup(o, func(r *mem.Region) { r.Unmap() }, o.Region)
	default:
		o.Region.Unmap()
	}
	if o.file != nil {
		o.file.Close()
	}
}

// Open opens an object that the caller knows how to read: parts says, from the checked header, what
// spans its file consists of. A kind of 0 accepts any.
func (s *Space) Open(name string, kind Kind, parts func(*Header) ([]mem.Part, error)) (*Object, error) {
	what := "object"
	if kind != 0 {
		what = kind.String()
	}
	fail := func(err error) (*Object, error) { return nil, fmt.Errorf("open %s %q: %w", what, name, err) }
	file, err := segment.FileName(name)
	if err != nil {
		return fail(err)
	}
	if err := s.Retain(); err != nil {
		return fail(err)
	}
	o, err := s.open(name, file, kind, parts)
	if err != nil {
		s.Release()
		return fail(err)
	}
	return o, nil
}

func (s *Space) open(name, file string, kind Kind, parts func(*Header) ([]mem.Part, error)) (*Object, error) {
	if err := s.here(); err != nil {
		return nil, err
	}
	as := s.Dir.Open
	if s.Visit {
		as = s.Dir.OpenRead
	}
	f, err := as(file)
	if err != nil {
		return nil, err
	}
	o := &Object{Name: name, Space: s, file: f}
	abandon := func(err error) (*Object, error) {
		o.unmap()
		return nil, err
	}
	if !s.Visit {
		if err := o.attach(); err != nil {
			return abandon(err)
		}
	}
	if o.Header, err = readHeader(f); err != nil {
		return abandon(err)
	}
	if o.State&Removed != 0 {
		var err error
		if !s.Visit {
			if err = s.mark(f, o.Header); err == nil {
				err = s.settle(f, file)
			}
		}
		return abandon(errors.Join(fmt.Errorf("%w: it was being removed", errs.ErrNotExist), err))
	}
	if f.Deleted() {
		return abandon(fmt.Errorf("%w: it was deleted just now", errs.ErrNotExist))
	}
	if o.Kind != Store { // that one has less, and looks itself
		if err := f.Backed(f.Size); err != nil {
			return abandon(err)
		}
	}
	if kind != 0 && o.Kind != kind {
		return abandon(fmt.Errorf("%w: %q is %s, not %s", errs.ErrIncompatible, name, o.Kind.withArticle(), kind.withArticle()))
	}
	p, err := parts(o.Header)
	if err != nil {
		return abandon(err)
	}
	if err := o.mapParts(p); err != nil {
		return abandon(err)
	}
	if !s.Visit {
		s.opened(o)
	}
	return o, nil
}

func readHeader(f *segment.File) (*Header, error) {
	page := make([]byte, HeaderSize)
	n, err := f.ReadAt(page, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	h, err := ParseHeader(page[:n], f.Size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path(), err)
	}
	return h, nil
}

// Reserve sets memory aside for n bytes at off of an object of which only a part is: errs.ErrNoSpace if there is
// none. Whoever dies in it leaves nothing to repair.
func (o *Object) Reserve(off, n int64) error { return o.file.Reserve(off, n) }

// Backed says errs.ErrCorrupt if less than the first n bytes of the file are set aside. Reading what is not would take memory that
// nobody asked for, at a peer's choice.
func (o *Object) Backed(n int64) error {
	err := o.file.Backed(n)
	if err != nil {
		err = fmt.Errorf("%s %q: %w", o.Kind, o.Name, err)
	}
	return err
}

// Share keeps the object open until one more Close.
func (o *Object) Share() { o.shares.Add(1) }

// Close gives up one share. With the last one, blocked calls end with errs.ErrClosed, and the memory
// goes when nobody is inside. If the object was to go with its users and we were the last, it does: at once, or, if
// locks of its kind may be held through closed handles, when the last of those inside is out.
func (o *Object) Close() error {
	if o.shares.Add(-1) != 0 { // others have it open, or it was closed before
		return nil
	}
	o.closed.Store(true)
	o.Sess.Interrupt(errs.ErrClosed)
	var err error
	if o.ephemeral() && !o.Kind.held() {
		err = o.removeIfLast()
	}
	o.Gate.Close()
	return err
}

func (o *Object) ephemeral() bool { return o.Flags&Ephemeral != 0 && !o.Space.Visit }

// leave runs when the object is closed and nobody is inside. Only now may the membership end: until
// then our token may stand in a lock.
func (o *Object) leave() {
	if o.ephemeral() && o.Kind.held() {
		_ = o.removeIfLast() // there is nobody to tell; a sweep looks again
	}
	o.Space.closed(o)
	o.unmap()
	_ = o.Space.Release() // there is nobody to tell
}

// Err is why an operation on the object cannot go on, nil if it can.
func (o *Object) Err() error {
	if o.Word.Load()&Removed != 0 {
		return o.removed()
	}
	return nil
}

// Wrap says what an error is about. What callers compare with often is returned as it is. If the last Close here took the
// object away, those who still waited are told of that Close.
func (o *Object) Wrap(err error) error {
	switch err {
	case nil, io.EOF, errs.ErrFull, errs.ErrEmpty, errs.ErrBusy, context.Canceled, context.DeadlineExceeded:
		return err
	}
	if errors.Is(err, errs.ErrCorrupt) {
		return o.Explain(err)
	}
	if o.closed.Load() && errors.Is(err, errs.ErrRemoved) {
		err = errs.ErrClosed
	}
	return fmt.Errorf("%s %q: %w", o.Kind, o.Name, err)
}

// Guarded runs f; a fault in a mapping becomes an error.
func Guarded(f func() error) (err error) {
	g := mem.Protect()
	defer g.Recover(&err)
	err = f()
	g.Done = true
	return err
}

// Call runs f inside the gate and under the fault guard. Hot paths spell it out.
func (o *Object) Call(f func() error) error {
	if !o.Gate.Enter() {
		return o.Wrap(errs.ErrClosed)
	}
	defer o.Gate.Leave()
	return o.Wrap(Guarded(f))
}

// OpenOrCreate opens what is there or makes it; of two that make it at once one opens the other's.
func OpenOrCreate[T any](open, create func() (T, error)) (T, error) {
	var none T
	var err error
	for range turns {
		t, e := open()
		if !errors.Is(e, errs.ErrNotExist) {
			return t, e
		}
		if t, err = create(); !errors.Is(err, errs.ErrExist) {
			return t, err
		}
	}
	return none, fmt.Errorf("%w: %d times in a row the name was taken when it was to be made, and free when it was to be opened (%v)",
		errs.ErrBusy, turns, err)
}

// Explain adds what is known to a corruption: a file that shrank is named as such.
func (o *Object) Explain(err error) error {
	if !errors.Is(err, errs.ErrCorrupt) {
		return err
	}
	if o.Space.Visit { // a store into memory that is there to be read only
		return fmt.Errorf("%s %q: %w", o.Kind, o.Name, o.Space.onlyVisited())
	}
	if now, yes := o.file.Truncated(); yes {
		return fmt.Errorf("%s %q: %w: the file was truncated from %d to %d bytes", o.Kind, o.Name, err, o.Size, now)
	}
	return fmt.Errorf("%s %q: %w", o.Kind, o.Name, err)
}
