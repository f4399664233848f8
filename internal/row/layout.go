package row

import (
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Control words of a queue, relative to its base; words that different sides write lie on lines of
// their own, 128 bytes apart.
const (
	ProducerLock = 0 // of a topic, too
	ConsumerLock = wordlock.Size
	NotEmpty     = 256 // u32 event, for consumers; u64 sleeps at +8
	NotFull      = 384 // u32 event, for producers; u64 sleeps at +8
	offTail      = 512 // u64 a position at or before the tail, written by producers, as all until 640
	offPuts      = 520 // u64 records put
	offBytes     = 528 // u64 payload bytes put
	offHigh      = 536 // u64 most bytes ever in use, to 1/64 of the area
	offSeen      = 544 // u64 a past value of taken
	offBusy      = 552 // u32 1 while a producer is between its look at the state word and its commit
	offTaken     = 640 // u64 position of the first record not taken (acknowledged), by consumers, as all behind
	offGets      = 648 // u64 records taken (acknowledged)
	offPartial   = 656 // u64 stream position inside the record at taken: low 32 bits of taken/8, then the offset
	offCursor    = 664 // u64 with acknowledgement: a position at or before the first record never handed out
	offLeases    = 672 // u64 deliveries handed out
	offAgain     = 680 // u32 1 if a record before cursor may be waiting to be handed out again
	offWorn      = 684 // u32 1 if a record was handed out as often as it may be, and waits to be moved away
	offRepeats   = 688 // u64 of those handed out, how many were not for the first time
	offMoving    = 696 // u64 the position of a record that is moved to another queue, and 1; 0 if there is none
	offBuried    = 704 // u64 records that were handed out too often and moved to another queue
	offDropped   = 712 // u64 the same, dropped

	// ControlSize is the size of the control words of a queue, and of a topic.
	ControlSize = 768
)

// Control words of a topic, relative to its base, behind ProducerLock.
const (
	Published  = 128 // u32 event, for subscribers; u64 sleeps at +8
	Room       = 256 // u32 event, for producers; u64 sleeps at +8
	topicTail  = 384 // u64 a boundary at or before the tail, written by producers, as all until 512
	topicFreed = 392 // u64 what lies before it may be overwritten
	topicBytes = 400 // u64 payload bytes put
	topicBusy  = 408 // u32 1 while a producer is between its look at the state word and its commit
	topicFloor = 512 // u64 position of the oldest record that can be read, by producers
	topicUsed  = 640 // u32 slots from this number on were never used, by subscribers
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

	joining = 1 << 31 // of a slot's token
)

const (
	sleepsAt    = 8 // beside an event
	headerValid = 1 << 32
	hasEnvelope = 1 << 33 // of a header: the payload begins with an envelope
	numberShift = 40
	numberMask  = 1<<24 - 1
	wordSize    = 8
	wideHead    = 2 * wordSize // of a record with a second word: its state, or its number
)

// MinArea and MaxArea bound the size of the area, MaxSlots the number of subscribers.
const (
	MinArea  = 4096
	MaxArea  = 1 << 36
	MaxSlots = 4096
)

// header is the header word of record number of n bytes, never 0.
func header(n int, number uint64) uint64 { return uint64(n) | upper(number) }

// upper is the part of a header that does not depend on the length.
func upper(number uint64) uint64 { return headerValid | (number&numberMask)<<numberShift }

func payloadLen(h uint64) uint64 { return h & (1<<32 - 1) }

// isHeader reports that the bits of a header that never change are right.
func isHeader(h uint64) bool { return isPlain(h &^ hasEnvelope) }

// isPlain is isHeader for a record without an envelope.
func isPlain(h uint64) bool { return h&(1<<numberShift-1)>>32 == 1 }

func pad(n uint64) uint64 { return (n + 7) &^ 7 }

// before compares positions that lie less than 2⁶³ bytes apart.
func before(a, b uint64) bool { return int64(a-b) < 0 }

// extend is the number near approx whose low bits are those of a header.
func extend(approx, h uint64) uint64 {
	d := (h>>numberShift - approx) & numberMask
	if d > numberMask/2 {
		return approx + d - (numberMask + 1)
	}
	return approx + d
}

// CheckArea reports whether an area may have that many bytes.
func CheckArea(n uint64) error {
	if n < MinArea || n > MaxArea || n&(n-1) != 0 {
		return fmt.Errorf("%w: an area of %d bytes: not a power of two from %d to %d", errs.ErrCorrupt, n, MinArea, MaxArea)
	}
	return nil
}

// CheckSlots reports whether there may be that many slots.
func CheckSlots(n uint64) error {
	if n < 1 || n > MaxSlots {
		return fmt.Errorf("%w: slots for %d subscribers: possible are 1 to %d", errs.ErrCorrupt, n, MaxSlots)
	}
	return nil
}
