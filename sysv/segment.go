package sysv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"sync"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Flags of shmat, with the values of C.
const (
	SHM_RDONLY = 0o10000
	SHM_RND    = 0o20000
	SHM_REMAP  = 0o40000
	SHM_EXEC   = 0o100000
)

// AttachOptions say how a segment is attached. Nil is fine: readable and writable, where the kernel
// finds room.
type AttachOptions struct {
	// ReadOnly: WriteAt and WriteString are errors, and a write through Bytes ends the process
	// (SHM_RDONLY).
	ReadOnly bool
	// Exec: the memory may hold code (SHM_EXEC).
	Exec bool
	// Addr is where the memory should be, so that pointers in it mean the same in several programs. 0
	// leaves it to the kernel. The kernel refuses addresses at which anything is mapped, so
	// this cannot hurt the Go heap: it is ErrBusy then.
	Addr uintptr
	// Round lowers Addr to a multiple of the page size (SHM_RND). Without it another Addr is an error.
	Round bool
	// Over is an attachment whose place this one takes (SHM_REMAP), in one step: slices that came from its
	// Bytes then show the new segment, and its handle is closed. Both must have as many pages, else
	// ErrIncompatible. C's SHM_REMAP replaces whatever is mapped there; over memory
	// that is not an attachment of ours this could replace the Go heap, and is not offered.
	Over *Segment
}

// Options say how a segment is made and attached. Nil is fine.
type Options struct {
	// Mode has the permission bits; 0 is 0600. The umask does not apply to segments.
	Mode fs.FileMode
	// NoReserve reserves no memory (SHM_NORESERVE). When there is none later, a write ends the process.
	NoReserve bool
	// HugePage is the size of a huge page in bytes; 0 is no huge pages, DefaultHugePage the system's usual size.
	HugePage int
	// Attach says how it is attached.
	Attach AttachOptions
}

// DefaultHugePage asks for huge pages of the system's usual size.
const DefaultHugePage = -1

func (o *Options) flags() (int, error) {
	if o == nil {
		return 0o600, nil
	}
	if o.Mode&^fs.ModePerm != 0 {
		return 0, fmt.Errorf("mode %v has more than permission bits", o.Mode)
	}
	flags := int(o.Mode)
	if flags == 0 {
		flags = 0o600
	}
	if o.NoReserve {
		flags |= SHM_NORESERVE
	}
	if o.HugePage != 0 {
		huge, err := HugePages(max(o.HugePage, 0))
		if err != nil {
			return 0, err
		}
		flags |= huge
	}
	return flags, nil
}

func (o *Options) attach() *AttachOptions {
	if o == nil {
		return nil
	}
	return &o.Attach
}

// Segment is an attachment: a segment's memory in this process. All methods may be called
// concurrently; what they read and write is not ordered between callers.
type Segment struct {
	id       ID
	readOnly bool
	mu       sync.RWMutex // calls hold it shared, whoever takes the memory away alone
	mem      []byte       // nil once closed
}

// Create makes a segment of size bytes and attaches it. Errors are as Get's with IPC_CREAT|IPC_EXCL, and
// ID.Attach's; then nothing was made.
func Create(key Key, size int, opt *Options) (*Segment, error) {
	flags, err := opt.flags()
	if err != nil {
		return nil, err
	}
	id, err := Get(key, size, flags|IPC_CREAT|IPC_EXCL)
	if err != nil {
		return nil, err
	}
	s, err := id.Attach(opt.attach())
	if err != nil {
		return nil, errors.Join(err, id.Remove())
	}
	return s, nil
}

// Open attaches the segment with this key, whatever its size. Errors are as Get's and ID.Attach's.
func Open(key Key, opt *AttachOptions) (*Segment, error) {
	if key == IPC_PRIVATE {
		return nil, getError(key, 0, 0, errNoKey)
	}
	id, err := Get(key, 0, 0)
	if err != nil {
		return nil, err
	}
	return id.Attach(opt)
}

// OpenOrCreate attaches the segment with this key, or makes it. ErrIncompatible when there is one with
// fewer than size bytes.
func OpenOrCreate(key Key, size int, opt *Options) (*Segment, error) {
	flags, err := opt.flags()
	if err != nil {
		return nil, err
	}
	id, err := Get(key, size, flags|IPC_CREAT)
	if err != nil {
		return nil, err
	}
	return id.Attach(opt.attach())
}

// Attach puts the segment into this process's memory. It works for a removed segment as long as somebody
// has it attached. ErrNotExist, ErrRemoved: there is no such segment (any more).
func (id ID) Attach(opt *AttachOptions) (*Segment, error) {
	o := AttachOptions{}
	if opt != nil {
		o = *opt
	}
	flags := 0
	if o.ReadOnly {
		flags |= SHM_RDONLY
	}
	if o.Exec {
		flags |= SHM_EXEC
	}
	s := &Segment{id: id, readOnly: o.ReadOnly}
	if o.Over != nil {
		if o.Addr != 0 || o.Round {
			return nil, fmt.Errorf("attach %v: Over has an address already, Addr is another", id)
		}
		if err := s.replace(o.Over, flags); err != nil {
			return nil, err
		}
		return s, nil
	}
	page := uintptr(os.Getpagesize())
	if o.Round && o.Addr != 0 {
		if o.Addr < page {
			return nil, fmt.Errorf("attach %v: address %#x rounds down to 0", id, o.Addr)
		}
		flags |= SHM_RND
	} else if o.Addr%page != 0 {
		return nil, fmt.Errorf("attach %v: address %#x is no multiple of the page size %d, and Round is not set", id, o.Addr, page)
	}
	var err error
	if s.mem, err = sysAttach(id, o.Addr, flags); err != nil {
		return nil, attachError(id, o.Addr, err)
	}
	return s, nil
}

// replace takes the place of another attachment.
func (s *Segment) replace(over *Segment, flags int) error {
	over.mu.Lock()
	defer over.mu.Unlock()
	if over.mem == nil {
		return over.closed("replace")
	}
	// Attached elsewhere first: then it cannot go away, and shows how much it would cover. That is
	// not its size: huge pages are larger.
	probe, err := sysAttach(s.id, 0, flags)
	if err != nil {
		return attachError(s.id, 0, err)
	}
	defer sysDetach(probe)
	at := address(over.mem)
	was, err1 := mapped(at)
	will, err2 := mapped(address(probe))
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("attach %v over %v: %w", s.id, over.id, err)
	}
	if was != will {
		return fmt.Errorf("attach %v over %v: %w: it takes %d bytes of addresses, the other %d", s.id, over.id, errs.ErrIncompatible, will, was)
	}
	b, err := sysAttach(s.id, at, flags|SHM_REMAP)
	if err != nil {
		return attachError(s.id, at, err)
	}
	s.mem, over.mem = b, nil
	return nil
}

// address is where b begins.
func address(b []byte) uintptr { return reflect.ValueOf(b).Pointer() }

// ID is the segment's.
func (s *Segment) ID() ID { return s.id }

// ReadOnly reports whether it was attached so.
func (s *Segment) ReadOnly() bool { return s.readOnly }

// Addr is where the memory begins; 0 once closed.
func (s *Segment) Addr() uintptr {
	if b := s.Bytes(); b != nil {
		return address(b)
	}
	return 0
}

// Size is the segment's size in bytes; 0 once closed.
func (s *Segment) Size() int { return len(s.Bytes()) }

// String names the segment.
func (s *Segment) String() string { return s.id.String() }

// Stat is as ID.Stat.
func (s *Segment) Stat() (*Info, error) { return s.id.Stat() }

// Bytes is the memory in place; nil once closed. Other processes change it at any time. It must not be
// used after Close, and not be written if the attachment is read-only: either ends the process.
func (s *Segment) Bytes() []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.mem
}

// Close detaches the segment, when no other call is inside. It stays in the system until it is removed
// and nobody has it attached. Closing again is ErrClosed.
func (s *Segment) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mem == nil {
		return s.closed("close")
	}
	b := s.mem
	s.mem = nil
	if err := sysDetach(b); err != nil {
		return fmt.Errorf("detach %v: %w", s.id, err)
	}
	return nil
}

func (s *Segment) closed(op string) error {
	return fmt.Errorf("%s %v: %w", op, s.id, errs.ErrClosed)
}

// ReadAt copies bytes out, as io.ReaderAt.
func (s *Segment) ReadAt(p []byte, off int64) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.mem == nil:
		return 0, s.closed("read")
	case off < 0:
		return 0, fmt.Errorf("read %v: offset %d", s.id, off)
	case off >= int64(len(s.mem)):
		return 0, io.EOF
	}
	n := copy(p, s.mem[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt copies bytes in, as io.WriterAt, all or none: ErrTooLarge if they reach over the end.
func (s *Segment) WriteAt(p []byte, off int64) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.writable(len(p), off); err != nil {
		return 0, err
	}
	return copy(s.mem[off:], p), nil
}

func (s *Segment) writable(n int, off int64) error {
	switch {
	case s.mem == nil:
		return s.closed("write")
	case s.readOnly:
		return fmt.Errorf("write %v: %w: it was attached read-only", s.id, fs.ErrPermission)
	case off < 0:
		return fmt.Errorf("write %v: offset %d", s.id, off)
	case off > int64(len(s.mem)) || int64(n) > int64(len(s.mem))-off:
		return fmt.Errorf("write %v: %w: %d bytes at offset %d, it has %d", s.id, errs.ErrTooLarge, n, off, len(s.mem))
	}
	return nil
}

// ReadString is the string at off that ends with a NUL, as C programs keep them. It looks at max bytes at
// most, the NUL included; 0 is as far as the segment goes. ErrCorrupt: there is no NUL there.
// Another process may write meanwhile; the result is bounded even so.
func (s *Segment) ReadString(off int64, max int) (string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.mem == nil {
		return "", s.closed("read")
	}
	text, err := readString(s.mem, off, max)
	if err != nil {
		return "", fmt.Errorf("read %v: %w", s.id, err)
	}
	return text, nil
}

func readString(mem []byte, off int64, max int) (string, error) {
	if off < 0 || off > int64(len(mem)) || max < 0 {
		return "", fmt.Errorf("%w: string of up to %d bytes at offset %d of %d", errs.ErrTooLarge, max, off, len(mem))
	}
	b := mem[off:]
	if max > 0 && max < len(b) {
		b = b[:max]
	}
	end := bytes.IndexByte(b, 0)
	if end < 0 {
		return "", fmt.Errorf("%w: no NUL in the %d bytes from offset %d", errs.ErrCorrupt, len(b), off)
	}
	text := string(b[:end])
	// The bytes may have changed since the look. What was copied counts.
	if i := strings.IndexByte(text, 0); i >= 0 {
		text = text[:i]
	}
	return text, nil
}

// WriteString writes text and a NUL at off. ErrTooLarge if they do not fit into the segment, or not into
// max bytes (0 is no such limit). A text with a NUL in it is an error. On an error nothing is written.
func (s *Segment) WriteString(off int64, max int, text string) error {
	if i := strings.IndexByte(text, 0); i >= 0 {
		return fmt.Errorf("write %v: the text has a NUL at byte %d, where readers would end it", s.id, i)
	}
	if max > 0 && len(text) >= max {
		return fmt.Errorf("write %v: %w: %d bytes and a NUL, at most %d", s.id, errs.ErrTooLarge, len(text), max)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.writable(len(text)+1, off); err != nil {
		return err
	}
	b := s.mem[off:]
	b[len(text)] = 0 // first: a reader in between finds an end
	copy(b, text)
	return nil
}
