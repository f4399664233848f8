package ring

import "github.com/shiplap-ipc/shiplap/internal/wordlock"

// Control words of one ring, relative to its base; words that different sides write lie on lines of
// their own, 128 bytes apart.
const (
	ProducerLock = 0
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
	offCursor    = 664 // u64 rings with acknowledgement: a position at or before the first record never handed out
	offLeases    = 672 // u64 deliveries handed out
	offAgain     = 680 // u32 1 if a record before cursor may be waiting to be handed out again
	offRepeats   = 688 // u64 of those handed out, how many were not for the first time

	// ControlSize is the size of a ring's control words.
	ControlSize = 768
)

const (
	sleepsAt    = 8 // beside an event
	headerValid = 1 << 32
	seqShift    = 40
	seqMask     = 1<<24 - 1
	wordSize    = 8
)

// MinArea and MaxArea bound the size of the area.
const (
	MinArea = 4096
	MaxArea = 1 << 36
)

func header(n int, seq uint64) uint64 { return uint64(n) | headerValid | (seq&seqMask)<<seqShift }

func payloadLen(h uint64) uint64 { return h & (1<<32 - 1) }

func pad(n uint64) uint64 { return (n + 7) &^ 7 }

// extend is the number near approx whose low bits are those of a header.
func extend(approx, h uint64) uint64 {
	d := (h>>seqShift - approx) & seqMask
	if d > seqMask/2 {
		return approx + d - (seqMask + 1)
	}
	return approx + d
}
