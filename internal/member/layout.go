package member

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

// FileName is the table's file in the domain directory.
const FileName = "#members"

// Slots is how many processes a domain holds.
const Slots = 1024

const (
	magic      = "SHIPMEMB"
	headerSize = 4096
	slotSize   = 128
	fileSize   = headerSize + Slots*slotSize

	offMagic  = 0  // 8 bytes
	offLayout = 8  // u32
	offSlots  = 12 // u32

	slotGen    = 0  // u32 generation
	slotState  = 4  // u32 0 free, 1 used, more: see Leftover
	slotPid    = 8  // u32
	slotUID    = 12 // u32
	slotStart  = 16 // u64 start time, clock ticks since boot (/proc/pid/stat field 22)
	slotPidNS  = 24 // u64 inode of the pid namespace
	slotJoined = 32 // u64 Unix ns
	slotBoot   = 40 // 16 bytes boot id
	slotCmd    = 56 // 72 bytes of the command line, NUL-padded
	cmdSize    = slotSize - slotCmd

	slotBits = 10
	genMask  = 1<<21 - 1

	// Lock bytes of a slot, from its start. Whoever holds the first lives; whoever holds the second
	// is changing hands. They are two, so that one who is stopped while he claims or clears a slot
	// makes nobody look alive.
	aliveLock = 0
	claimLock = 64

	// Lock bytes that lie behind the slots, so that they never collide with them.
	nameLock = fileSize
)

func slotOff(slot int) int { return headerSize + slot*slotSize }

func makeToken(slot int, gen uint32) uint32 { return gen&genMask<<slotBits | uint32(slot) }

func splitToken(t uint32) (slot int, gen uint32) {
	return int(t & (1<<slotBits - 1)), t >> slotBits & genMask
}

func initTable(s *mem.Span) {
	copy(s.Bytes(offMagic, 8), magic)
	s.U32(offSlots).Store(Slots)
	s.U32(offLayout).Store(segment.Layout)
}

func checkTable(f *segment.File) error {
	if f.Size != fileSize {
		return fmt.Errorf("%w: %s has %d bytes, a members table of layout %d has %d", errs.ErrCorrupt, f.Path(), f.Size, segment.Layout, fileSize)
	}
	return nil
}

func checkHeader(path string, s *mem.Span) error {
	if !bytes.Equal(s.Bytes(offMagic, 8), []byte(magic)) {
		return fmt.Errorf("%w: %s does not begin with %q", errs.ErrCorrupt, path, magic)
	}
	if v := s.U32(offLayout).Load(); v != segment.Layout {
		return fmt.Errorf("%w: %s has layout version %d, this program knows %d", errs.ErrIncompatible, path, v, segment.Layout)
	}
	if n := s.U32(offSlots).Load(); n != Slots {
		return fmt.Errorf("%w: %s has %d slots, layout %d has %d", errs.ErrCorrupt, path, n, segment.Layout, Slots)
	}
	return nil
}

// Info is who a member says it is. Only Alive is proved by the kernel.
type Info struct {
	Token   uint32
	Pid     int
	UID     int
	PidNS   uint64 // inode of its pid namespace: Pid means something in there only
	Start   uint64 // clock ticks since boot
	Joined  time.Time
	Command string
	Alive   bool
}

func readSlot(s *mem.Span, slot int) (in Info, state uint32) {
	at := slotOff(slot)
	cmd := make([]byte, cmdSize)
	s.CopyOut(cmd, at+slotCmd)
	cmd, _, _ = bytes.Cut(cmd, []byte{0})
	return Info{
		Token:   makeToken(slot, s.U32(at+slotGen).Load()),
		Pid:     int(int32(s.U32(at + slotPid).Load())),
		UID:     int(s.U32(at + slotUID).Load()),
		PidNS:   s.U64(at + slotPidNS).Load(),
		Start:   s.U64(at + slotStart).Load(),
		Joined:  time.Unix(0, int64(s.U64(at+slotJoined).Load()&(1<<62-1))),
		Command: string(bytes.ToValidUTF8(cmd, []byte("?"))),
	}, s.U32(at + slotState).Load()
}

// raiseGeneration makes all tokens of the slot void; its claim lock is held.
func raiseGeneration(s *mem.Span, slot int) {
	at := slotOff(slot)
	s.U32(at + slotState).Store(0)
	gen := (s.U32(at+slotGen).Load() + 1) & genMask
	if gen == 0 {
		gen = 1
	}
	s.U32(at + slotGen).Store(gen)
}

// writeSlot says who has the slot; both its locks are held.
func writeSlot(s *mem.Span, slot int, id identity) (token uint32) {
	at := slotOff(slot)
	s.U32(at + slotPid).Store(uint32(id.pid))
	s.U32(at + slotUID).Store(uint32(id.uid))
	s.U64(at + slotStart).Store(id.start)
	s.U64(at + slotPidNS).Store(id.pidNS)
	s.U64(at + slotJoined).Store(uint64(time.Now().UnixNano()))
	s.U64(at + slotBoot).Store(binary.LittleEndian.Uint64(id.boot[:8]))
	s.U64(at + slotBoot + 8).Store(binary.LittleEndian.Uint64(id.boot[8:]))
	cmd := make([]byte, cmdSize)
	copy(cmd, id.cmd)
	s.CopyIn(at+slotCmd, cmd)
	s.U32(at + slotState).Store(used)
	return makeToken(slot, s.U32(at+slotGen).Load())
}
