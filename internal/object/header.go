package object

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/segment"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// HeaderSize is the first page; a kind's own control words follow it in the same span.
const HeaderSize = 4096

// Params is how many numbers a kind may keep in the header.
const Params = 8

const (
	magic = "SHIPLAP\x00"

	offMagic    = 0   // 8 bytes
	offLayout   = 8   // u32
	offKind     = 12  // u32
	offSize     = 16  // u64 of the whole file
	offFlags    = 24  // u32
	offToken    = 32  // u32 the creator's token
	offPid      = 36  // u32 the creator's pid
	offCreated  = 40  // u64 Unix ns
	offDescHash = 48  // u64
	offDescLen  = 56  // u32
	offLabelLen = 60  // u32
	offParams   = 64  // 8 × u64
	offState    = 128 // u32, the only word of the header that changes; alone on its line
	offLabel    = 256 // 256 bytes
	offLocks    = 512 // u32 count, then from 544 on 15 × {u32 offset, 28 bytes name}
	offEvents   = 1024
	offDesc     = 2048 // 2048 bytes

	maxLabel  = 256
	maxLocks  = 15
	maxEvents = 31
	lockEntry = 32
	maxDesc   = HeaderSize - offDesc
)

// Flags of an object, fixed at its birth.
const (
	Ephemeral uint32 = 1 << 0 // goes with its last user
	knownFlag        = Ephemeral
)

// Bits of the state word.
const (
	Removed uint32 = 1 << 0 // no longer has a name
	Closed  uint32 = 1 << 1 // a queue takes no more messages
)

// LockAt names a lock record in the control span; the offset counts from the start of the file.
type LockAt struct {
	Name string
	Off  int
}

// Header is a private, checked copy of an object's header.
type Header struct {
	Kind     Kind
	Size     int64
	Flags    uint32
	Token    uint32
	Pid      int
	Created  time.Time
	DescHash uint64
	Desc     string
	Label    string
	Params   [Params]uint64
	Locks    []LockAt
	Events   []int
	State    uint32 // as it was when the header was read
}

func (h *Header) write(s *mem.Span) {
	copy(s.Bytes(offMagic, 8), magic)
	s.U32(offLayout).Store(segment.Layout)
	s.U32(offKind).Store(uint32(h.Kind))
	s.U64(offSize).Store(uint64(h.Size))
	s.U32(offFlags).Store(h.Flags)
	s.U32(offToken).Store(h.Token)
	s.U32(offPid).Store(uint32(h.Pid))
	s.U64(offCreated).Store(uint64(h.Created.UnixNano()))
	s.U64(offDescHash).Store(h.DescHash)
	s.U32(offDescLen).Store(uint32(len(h.Desc)))
	s.U32(offLabelLen).Store(uint32(len(h.Label)))
	for i, p := range h.Params {
		s.U64(offParams + 8*i).Store(p)
	}
	s.CopyIn(offLabel, []byte(h.Label))
	s.U32(offLocks).Store(uint32(len(h.Locks)))
	for i, l := range h.Locks {
		at := offLocks + lockEntry*(i+1)
		s.U32(at).Store(uint32(l.Off))
		s.CopyIn(at+4, []byte(l.Name))
	}
	s.U32(offEvents).Store(uint32(len(h.Events)))
	for i, e := range h.Events {
		s.U32(offEvents + 4*(i+1)).Store(uint32(e))
	}
	s.CopyIn(offDesc, []byte(h.Desc))
}

// ParseHeader checks the first page of a file of size bytes. It trusts nothing in it.
func ParseHeader(page []byte, size int64) (*Header, error) {
	corrupt := func(format string, a ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{errs.ErrCorrupt}, a...)...)
	}
	if len(page) < HeaderSize {
		return nil, corrupt("%d bytes are too few for a header of %d", len(page), HeaderSize)
	}
	le := binary.LittleEndian
	u32 := func(off int) uint32 { return le.Uint32(page[off:]) }
	u64 := func(off int) uint64 { return le.Uint64(page[off:]) }
	if !bytes.Equal(page[:8], []byte(magic)) {
		return nil, corrupt("it does not begin with the magic %q but with %q", magic, page[:8])
	}
	if v := u32(offLayout); v != segment.Layout {
		return nil, fmt.Errorf("%w: it has layout version %d, this program knows %d: "+
			"use it with a program of that version, or remove it", errs.ErrIncompatible, v, segment.Layout)
	}
	if n := u64(offSize); n != uint64(size) {
		return nil, corrupt("the header says %d bytes, the file has %d", n, size)
	}
	h := &Header{
		Kind:     Kind(u32(offKind)),
		Size:     size,
		Flags:    u32(offFlags),
		Token:    u32(offToken),
		Pid:      int(int32(u32(offPid))),
		Created:  time.Unix(0, int64(u64(offCreated)&(1<<62-1))),
		DescHash: u64(offDescHash),
		State:    u32(offState),
	}
	if h.Flags&^knownFlag != 0 {
		return nil, fmt.Errorf("%w: it has the flags %#x, of which this program knows %#x", errs.ErrIncompatible, h.Flags, knownFlag)
	}
	for i := range h.Params {
		h.Params[i] = u64(offParams + 8*i)
	}
	dl, ll, nl, ne := u32(offDescLen), u32(offLabelLen), u32(offLocks), u32(offEvents)
	if dl > maxDesc || ll > maxLabel || nl > maxLocks || ne > maxEvents {
		return nil, corrupt("descriptor of %d bytes, label of %d, %d locks, %d events: at most %d, %d, %d, %d are possible",
			dl, ll, nl, ne, maxDesc, maxLabel, maxLocks, maxEvents)
	}
	h.Desc = string(page[offDesc : offDesc+dl])
	h.Label = string(page[offLabel : offLabel+ll])
	for i := range int(nl) {
		at := offLocks + lockEntry*(i+1)
		off := u32(at)
		if off < HeaderSize || off%wordlock.Size != 0 || int64(off)+wordlock.Size > size {
			return nil, corrupt("lock %d stands at offset %d of %d bytes", i, off, size)
		}
		name, _, _ := bytes.Cut(page[at+4:at+lockEntry], []byte{0})
		h.Locks = append(h.Locks, LockAt{string(bytes.ToValidUTF8(name, []byte("?"))), int(off)})
	}
	for i := range int(ne) {
		off := u32(offEvents + 4*(i+1))
		if off < HeaderSize || off%4 != 0 || int64(off)+4 > size {
			return nil, corrupt("event %d stands at offset %d of %d bytes", i, off, size)
		}
		h.Events = append(h.Events, int(off))
	}
	return h, nil
}
