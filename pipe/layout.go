package pipe

import (
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
)

// A pipe is two rings. End A puts into ring 0 and takes from ring 1, end B the other way round. Who
// holds an end holds the producer lock of the one and the consumer lock of the other.
const (
	ctlSize = object.HeaderSize + 4096

	offRow    = object.HeaderSize          // two times row.ControlSize
	offStates = offRow + 2*row.ControlSize // two u32: state words of the rings (row.Closed, row.Deaf)
	offOpened = offStates + 8              // u32: bit 0 end A was taken once, bit 1 end B
	offExpect = offStates + 12             // u32: token of the process that is to take end B, 0 if anybody may

	paramArea = 0 // bytes of each ring
)

type side int

const (
	sideA side = 0
	sideB side = 1
)

func (s side) String() string { return [...]string{"A", "B"}[s] }

func (s side) other() side { return 1 - s }

// out is the ring that a side puts into; its producer lock is the one that makes it the side's holder.
func (s side) out() int { return int(s) }

func (s side) in() int { return int(s.other()) }

func rowBase(i int) int { return offRow + i*row.ControlSize }

func pipeParts(area int) []mem.Part {
	return []mem.Part{{Len: ctlSize}, {Len: area, Mirror: true}, {Len: area, Mirror: true}}
}

func parts(h *object.Header) ([]mem.Part, error) {
	area := h.Params[paramArea]
	if err := row.CheckArea(area); err != nil {
		return nil, err
	}
	return pipeParts(int(area)), nil
}

func pipeLocks() []object.LockAt {
	var l []object.LockAt
	for _, s := range []side{sideA, sideB} {
		l = append(l,
			object.LockAt{Name: s.String() + " send", Off: rowBase(s.out()) + row.ProducerLock},
			object.LockAt{Name: s.String() + " receive", Off: rowBase(s.in()) + row.ConsumerLock})
	}
	return l
}

func pipeEvents() []int {
	var e []int
	for i := range 2 {
		e = append(e, rowBase(i)+row.NotEmpty, rowBase(i)+row.NotFull)
	}
	return e
}

// A listener is one ring, of the names of pipes whose end B waits to be accepted. The process that
// listens holds the consumer lock.
const listenerArea = 64 << 10

func listenerParts(h *object.Header) ([]mem.Part, error) {
	if h.Params[paramArea] != listenerArea {
		return nil, fmt.Errorf("%w: a listener with %d bytes", errs.ErrCorrupt, h.Params[paramArea])
	}
	return []mem.Part{{Len: ctlSize}, {Len: listenerArea, Mirror: true}}, nil
}
