package feed

import (
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Control words of a feed, relative to its base; words that different sides write lie on lines of their own.
const (
	PublisherLock = 0
	Published     = 128 // u32 event, for subscribers; u64 sleeps at +8
	Room          = 256 // u32 event, for publishers; u64 sleeps at +8
	offTail       = 384 // u64 a boundary at or before the tail, written by publishers, as all until 512
	offFreed      = 392 // u64 what lies before it may be overwritten
	offBytes      = 400 // u64 payload bytes published
	offBusy       = 408 // u32 1 while a publisher is between its look at the state word and its commit
	offFloor      = 512 // u64 position of the oldest record that can be read, by publishers
	offUsed       = 640 // u32 slots from this number on were never used, by subscribers

	// ControlSize is the size of a feed's control words.
	ControlSize = 768
)

// A subscriber's slot.
const (
	slotToken  = 0  // u32 0 free, else the subscriber's process; bit 31 while its cursor is not valid yet
	slotCursor = 8  // u64 position of the next record that it will read
	slotNumber = 16 // u64 number of that record
	slotMissed = 24 // u64 records that were overwritten before it read them
	slotFirst  = 32 // u64 number of its first record
	slotSince  = 40 // u64 Unix ns

	// SlotSize is the size of a slot.
	SlotSize = 128
)

const (
	sleepsAt   = 8 // beside an event
	wordSize   = 8
	recordHead = 2 * wordSize
	validOne   = 1 << 32
	numShift   = 40
	numMask    = 1<<24 - 1
	joining    = 1 << 31 // of a slot's token

	// Removed and Closed are bits of the state word.
	Removed uint32 = 1 << 0
	Closed  uint32 = 1 << 1
)

// MinArea, MaxArea and MaxSlots bound the sizes.
const (
	MinArea  = 4096
	MaxArea  = 1 << 36
	MaxSlots = 4096
)

// header is the header word of record number of n bytes, never 0.
func header(n int, number uint64) uint64 { return uint64(n) | upper(number) }

// upper is the part of a header that does not depend on the length.
func upper(number uint64) uint64 { return validOne | (number&numMask)<<numShift }

func payloadLen(h uint64) uint64 { return h & (1<<32 - 1) }

func pad(n uint64) uint64 { return (n + 7) &^ 7 }

// before compares positions that lie less than 2⁶³ bytes apart.
func before(a, b uint64) bool { return int64(a-b) < 0 }

// CheckArea reports whether an area may have that many bytes.
func CheckArea(n uint64) error {
	if n < MinArea || n > MaxArea || n&(n-1) != 0 {
		return fmt.Errorf("%w: a topic of %d bytes: not a power of two from %d to %d", errs.ErrCorrupt, n, MinArea, MaxArea)
	}
	return nil
}

// CheckSlots reports whether there may be that many slots.
func CheckSlots(n uint64) error {
	if n < 1 || n > MaxSlots {
		return fmt.Errorf("%w: a topic for %d subscribers: possible are 1 to %d", errs.ErrCorrupt, n, MaxSlots)
	}
	return nil
}
