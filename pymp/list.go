package pymp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/shm"
)

// ShareableList is Python's multiprocessing.shared_memory.ShareableList. It holds int64, float64,
// bool, nil (None), string and []byte. Its length is fixed, and so is the room of each item: a number
// fits everywhere, a string or []byte must not be longer than the item's slot.
//
// The list has no lock, in Python neither: a reader beside a writer may see an old value, a new one,
// a mixture of their bytes, or an error. Share a Lock, or a package lock's Mutex, where that matters.
// Beyond that all methods may be called concurrently.
//
// Two quirks of Python. Readers strip NULs from the end of str and bytes: what ends in NUL comes back
// shorter (Raw shows the whole slot). And Python reserves a byte a character when it makes a list, so
// that a str which is not ASCII may be cut when Python stores it: inside a character At reports that,
// between two characters nobody can tell. Lists made here reserve by bytes, and are never cut.
type ShareableList struct {
	mem    memory
	seg    *shm.Segment // nil over plain bytes
	layout *listLayout
}

// memory lends bytes for a call: it turns faults into errors, and keeps the bytes mapped during it.
type memory interface {
	With(f func(b []byte) error) error
}

type plainMemory []byte

func (p plainMemory) With(f func(b []byte) error) (err error) {
	g := mem.Protect()
	defer g.Recover(&err)
	err = f(p)
	g.Done = true
	return err
}

// ListOptions of a ShareableList. The zero value is good.
type ListOptions struct {
	// Python38 makes the list in the format of Python 3.8, which Pythons from 3.9 on cannot read, nor
	// it theirs. When a list is opened its format is recognised.
	Python38 bool
	// Shm are options of the shared memory; nil is good.
	Shm *shm.Options
}

func (o *ListOptions) or() ListOptions {
	if o == nil {
		return ListOptions{}
	}
	return *o
}

// ShareableListSize is how many bytes a list of these items takes.
func ShareableListSize(items []any, opts *ListOptions) (int, error) {
	_, l, err := layOut(items, opts)
	if err != nil {
		return 0, err
	}
	return l.size, nil
}

func layOut(items []any, opts *ListOptions) ([]item, *listLayout, error) {
	all, slots := make([]item, len(items)), make([]int, len(items))
	for i, v := range items {
		it, err := newItem(v)
		if err != nil {
			return nil, nil, fmt.Errorf("item %d: %w", i, err)
		}
		all[i], slots[i] = it, it.slot()
	}
	return all, newListLayout(slots, opts.or().Python38), nil
}

// NewShareableList writes a list into memory of at least ShareableListSize bytes, all zero. What is
// behind that many is left alone.
func NewShareableList(memory []byte, items []any, opts *ListOptions) (*ShareableList, error) {
	return create(plainMemory(memory), items, opts)
}

func create(m memory, values []any, opts *ListOptions) (*ShareableList, error) {
	items, l, err := layOut(values, opts)
	if err != nil {
		return nil, err
	}
	err = m.With(func(b []byte) error {
		if len(b) < l.size {
			return fmt.Errorf("%w: a list of %d bytes into %d", errs.ErrTooLarge, l.size, len(b))
		}
		for i, it := range items {
			l.store(b, i, it)
		}
		l.write(b)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &ShareableList{mem: m, layout: l}, nil
}

// store writes an item that fits, in Python's order.
func (l *listLayout) store(b []byte, i int, it item) {
	slot := b[l.offs[i]:l.offs[i+1]]
	format := it.format
	if format == "" {
		format = formatOf(min(len(slot), MaxListItem+1))
	}
	var f [8]byte
	copy(f[:], format)
	copy(b[l.formats+8*i:], f[:])
	b[l.codes+i] = it.code
	if it.format != "" {
		binary.LittleEndian.PutUint64(slot, binary.LittleEndian.Uint64(it.data))
		return
	}
	clear(slot[copy(slot, it.data):])
}

// OpenShareableList reads the head of a list that lies in memory. Memory that holds none is ErrCorrupt.
func OpenShareableList(memory []byte) (*ShareableList, error) { return open(plainMemory(memory)) }

func open(m memory) (*ShareableList, error) {
	s := &ShareableList{mem: m}
	err := m.With(func(b []byte) (err error) {
		s.layout, err = readListLayout(b)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// CreateShareableList makes shared memory of a name ("" gets one as psm_1b2c3d4e) that holds the
// items. Python attaches it by ShareableList(name=…). Hand the name over when it is made: before that
// the memory is there, and an empty list.
func CreateShareableList(name string, items []any, opts *ListOptions) (*ShareableList, error) {
	n, err := ShareableListSize(items, opts)
	if err != nil {
		return nil, err
	}
	seg, err := shm.Create(name, int64(n), opts.or().Shm)
	if err != nil {
		return nil, err
	}
	s, err := create(seg, items, opts)
	if err != nil {
		return nil, errors.Join(err, seg.Unlink(), seg.Close())
	}
	s.seg = seg
	return s, nil
}

// AttachShareableList opens the list that Python calls list.shm.name. Beware of Python's resource
// tracker, which removes the name when a Python that has it open ends: see package shm.
func AttachShareableList(name string, opts *ListOptions) (*ShareableList, error) {
	seg, err := shm.Attach(name, opts.or().Shm)
	if err != nil {
		return nil, err
	}
	s, err := open(seg)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), seg.Close())
	}
	s.seg = seg
	return s, nil
}

// Segment is the shared memory, nil for a list over plain bytes.
func (s *ShareableList) Segment() *shm.Segment { return s.seg }

// Name is that of the shared memory, "" for a list over plain bytes.
func (s *ShareableList) Name() string {
	if s.seg == nil {
		return ""
	}
	return s.seg.Name()
}

// Len is the number of items; it never changes.
func (s *ShareableList) Len() int { return s.layout.len() }

// Room is how many bytes a string or []byte may have to fit item i.
func (s *ShareableList) Room(i int) (int, error) {
	if err := s.check(i); err != nil {
		return 0, err
	}
	return s.room(i), nil
}

// room respects that the format has to fit, whoever made the slot.
func (s *ShareableList) room(i int) int { return min(s.layout.slot(i), MaxListItem+1) }

func (s *ShareableList) check(i int) error {
	if i < 0 || i >= s.Len() {
		return fmt.Errorf("pymp: index %d of a list of %d items", i, s.Len())
	}
	return nil
}

func (s *ShareableList) fail(i int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s, item %d: %w", s, i, err)
}

// At is item i: int64, float64, bool, nil, string or []byte, which is a copy. ErrCorrupt is an item
// that no Python has written, one that is being written at this moment, or a str that Python has cut.
func (s *ShareableList) At(i int) (any, error) {
	if err := s.check(i); err != nil {
		return nil, err
	}
	var v any
	err := s.mem.With(func(b []byte) (err error) {
		// Each of the three is copied once, and only the copies are looked at.
		format, code, slot := s.format(b, i), b[s.layout.codes+i], s.slot(b, i)
		if code != codeString && code != codeBytes {
			slot = slot[:8]
		}
		v, err = readItem(format, code, bytes.Clone(slot))
		return err
	})
	return v, s.fail(i, err)
}

func (s *ShareableList) format(b []byte, i int) (f [8]byte) {
	copy(f[:], b[s.layout.formats+8*i:])
	return f
}

func (s *ShareableList) slot(b []byte, i int) []byte { return b[s.layout.offs[i]:s.layout.offs[i+1]] }

// Raw is a copy of the whole slot of item i, with what pads it.
func (s *ShareableList) Raw(i int) ([]byte, error) {
	if err := s.check(i); err != nil {
		return nil, err
	}
	var slot []byte
	err := s.mem.With(func(b []byte) error {
		slot = bytes.Clone(s.slot(b, i))
		return nil
	})
	return slot, s.fail(i, err)
}

// Set stores item i, of any of the types. A string or []byte that is longer than the slot is
// ErrTooLarge, a value of another type ErrIncompatible.
func (s *ShareableList) Set(i int, v any) error {
	if err := s.check(i); err != nil {
		return err
	}
	it, err := newItem(v)
	if err != nil {
		return s.fail(i, err)
	}
	if len(it.data) > s.room(i) {
		return s.fail(i, fmt.Errorf("%w: %d bytes into a slot of %d; slots never grow", errs.ErrTooLarge, len(it.data), s.room(i)))
	}
	return s.fail(i, s.mem.With(func(b []byte) error {
		s.layout.store(b, i, it)
		return nil
	}))
}

// All are the items in their order, each read when it is its turn. An item that cannot be read gives
// its error, and the next ones follow.
func (s *ShareableList) All() iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		for i := range s.Len() {
			if !yield(s.At(i)) {
				return
			}
		}
	}
}

// Items is a copy of all items.
func (s *ShareableList) Items() ([]any, error) {
	all := make([]any, 0, s.Len())
	for v, err := range s.All() {
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// Format is the formats of all items in a row, as Python's list.format.
func (s *ShareableList) Format() (string, error) {
	var f strings.Builder
	err := s.mem.With(func(b []byte) error {
		for i := range s.Len() {
			format := s.format(b, i)
			f.WriteString(strings.TrimRight(string(format[:]), "\x00"))
		}
		return nil
	})
	return f.String(), err
}

// Index is the first item that equals v, -1 if none does. As in Python 1, 1.0 and true are equal.
func (s *ShareableList) Index(v any) (int, error) {
	v = plain(v)
	i := 0
	for x, err := range s.All() {
		if err != nil {
			return -1, err
		}
		if equal(x, v) {
			return i, nil
		}
		i++
	}
	return -1, nil
}

// Count is how many items equal v, as for Index.
func (s *ShareableList) Count(v any) (int, error) {
	v = plain(v)
	n := 0
	for x, err := range s.All() {
		if err != nil {
			return 0, err
		}
		if equal(x, v) {
			n++
		}
	}
	return n, nil
}

// plain is v as At would return it, if it can be stored at all.
func plain(v any) any {
	it, err := newItem(v)
	if err != nil {
		return struct{}{} // equals nothing
	}
	switch it.code {
	case codeString:
		return string(it.data)
	case codeBytes:
		return it.data
	}
	var f [8]byte
	copy(f[:], it.format)
	x, _ := readItem(f, it.code, it.data) // of our own making
	return x
}

// Unlink removes the name of the shared memory, as Python's list.shm.unlink().
func (s *ShareableList) Unlink() error {
	if s.seg == nil {
		return fmt.Errorf("%w: the list lies in plain memory", errs.ErrUnsupported)
	}
	return s.seg.Unlink()
}

// Close lets go of the shared memory. Its name stays.
func (s *ShareableList) Close() error {
	if s.seg == nil {
		return nil
	}
	return s.seg.Close()
}

func (s *ShareableList) String() string {
	name := s.Name()
	if name == "" {
		name = "in plain memory"
	}
	return fmt.Sprintf("ShareableList %s (%d items)", name, s.Len())
}
