package channel

import (
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
	"github.com/shiplap-ipc/shiplap/internal/shares"
)

// A channel is two rings and a holder table. Side A puts into ring 0 and takes from ring 1, side B the other
// way round. An entry of the table counts the handles of a process: those on side A in the low half of its number, those
// on side B in the high half.
const (
	ctlSize = object.HeaderSize + 4096

	offRow     = object.HeaderSize          // two times row.ControlSize
	offOpens   = offRow + 2*row.ControlSize // two u32, 64 bytes apart: how often a side was opened
	offLost    = offOpens + 4               // two u32, 64 bytes apart: opens when a death on the side was noted here
	offDropped = offOpens + 128             // two u64, 64 bytes apart: messages of a ring that no handler wanted
	offUsed    = offDropped + 128           // bitmap of the table
	wordGap    = 64

	entrySize = 8

	paramArea = 0 // bytes of each ring
	paramID   = 1 // a random number, to tell the channel from one that gets its name later
)

// The spans of a channel.
const (
	spanCtl = iota
	spanTable
	spanRow // and the next
)

// Side is one of the two sides of a channel.
type Side string

const (
	// SideA is the side of who made the channel.
	SideA Side = "A"
	// SideB is the side of those who get it.
	SideB Side = "B"
)

// side is a Side that was checked.
type side int

const (
	sideA side = 0
	sideB side = 1
)

func (s side) String() string { return string([...]Side{SideA, SideB}[s]) }

func (s side) other() side { return 1 - s }

// out is the ring that a side puts into.
func (s side) out() int { return int(s) }

func (s side) in() int { return int(s.other()) }

func rowBase(i int) int { return offRow + i*row.ControlSize }

// mostHandles bounds the handles that one process has on one side.
const mostHandles = 1<<16 - 1

// handles is how many of an entry's number are on the side.
func (s side) handles(number uint32) uint32 { return number >> (16 * s) & mostHandles }

// one is what a handle on the side adds to the number.
func (s side) one() uint32 { return 1 << (16 * s) }

func spans(area int) []mem.Part {
	return []mem.Part{{Len: ctlSize}, {Len: shares.Slots * entrySize}, {Len: area, Mirror: true}, {Len: area, Mirror: true}}
}

func parts(h *object.Header) ([]mem.Part, error) {
	area := h.Params[paramArea]
	if err := row.CheckArea(area); err != nil {
		return nil, err
	}
	return spans(int(area)), nil
}

func locks() (l []object.LockAt) {
	for _, s := range []side{sideA, sideB} {
		l = append(l,
			object.LockAt{Name: s.String() + " send", Off: rowBase(s.out()) + row.ProducerLock},
			object.LockAt{Name: s.String() + " receive", Off: rowBase(s.in()) + row.ConsumerLock})
	}
	return l
}

func events() (e []int) {
	for i := range 2 {
		e = append(e, rowBase(i)+row.NotEmpty, rowBase(i)+row.NotFull)
	}
	return e
}
