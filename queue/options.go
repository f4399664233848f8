package queue

import (
	"fmt"
	"math/bits"
	"math/rand/v2"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

// Codec names how elements become bytes.
type Codec = schema.Codec

// Codecs. Auto takes Raw for []byte, Fixed for types without pointers, and CBOR for everything else.
const (
	Auto  = schema.Auto
	Bytes = schema.Raw
	Fixed = schema.Fixed
	CBOR  = schema.CBOR
	JSON  = schema.JSON
)

// DefaultCapacity is what a queue gets that asks for nothing else.
const DefaultCapacity = 1 << 20

// Options of a queue. The zero value is good. Those marked (creation) count only for who makes it.
type Options struct {
	// Capacity in bytes (creation), rounded up to a power of two, at least 4096; 0 means
	// DefaultCapacity. A message takes its length, rounded up to 8, and 8 bytes (16 with Ack).
	Capacity int64
	// Ack makes consumers acknowledge deliveries (creation): see Receive.
	Ack bool
	// MaxDeliveries is how often a message is handed out without being acknowledged, 0 for no limit, at most 2²⁴−1; only with Ack
	// (creation). A message that was handed out that often, and comes back, goes to the queue DeadLetters, or is
	// dropped if there is none.
	MaxDeliveries int
	// DeadLetters names a queue in the same domain, of the same type; only with MaxDeliveries (creation). If it is not there, it is
	// made like this one, with Ack. A message goes there as one step: whatever dies when, it is in exactly one of the two. While
	// the dead letters are full, or somebody holds their producing side, it stays here, and nobody gets it.
	DeadLetters string
	// Ephemeral removes the queue with its last user, also when that dies (creation).
	Ephemeral bool
	// Label is free text for people, up to 256 bytes (creation).
	Label string
	// Codec of the elements; it must be the same for all who open the queue.
	Codec Codec
	// MaxReceive is the longest message in bytes that this handle copies out, 0 for any that fits. A longer one is
	// shiplap.ErrTooLarge, before memory is taken for it; it stays in the queue, for others, or for GetMany and Peek, which do
	// not copy. Its envelope counts.
	MaxReceive int
	// Undecodable gets the deliveries that Deliveries of this handle cannot decode, and settles them: with Ack once
	// the bytes are safe elsewhere, or with Nack: then the next consumer gets it before all newer messages, and that may be
	// this very one, at once. Without it they go to the dead letters. With neither they are held until the handle is
	// closed: Deliveries of a closed queue does not end before that, and no more can be put once the room behind the held
	// message is used up.
	Undecodable func(*UndecodableDelivery)
	// Wait is how this handle waits, if not as its domain does.
	Wait shiplap.WaitMode
}

const (
	paramArea = 0 // bytes of the ring
	paramAck  = 1 // 1 with acknowledgement
	paramMax  = 2 // how often a message is handed out, 0 for no limit
	paramID   = 3 // a random number, by which moves name the queue

	rowBase  = object.HeaderSize
	deadName = rowBase + 1024 // u64 length, then the name of the queue of dead letters
	moveName = deadName + 512
	movesAt  = moveName + 512
	ctlSize  = object.HeaderSize + 4096

	mostDeliveries = 1<<24 - 1
)

func (o *Options) spec(d schema.Descriptor) (object.Spec, error) {
	n := o.Capacity
	if n == 0 {
		n = DefaultCapacity
	}
	if n < 0 || n > row.MaxArea {
		return object.Spec{}, fmt.Errorf("%w: a capacity of %d bytes, possible are %d to %d", errs.ErrTooLarge, n, row.MinArea, row.MaxArea)
	}
	if err := o.checkLimit(); err != nil {
		return object.Spec{}, err
	}
	area := uint64(1) << bits.Len64(uint64(max(n, row.MinArea))-1)
	s := object.Spec{
		Kind: object.Queue, Label: o.Label, Desc: d,
		Parts:  []mem.Part{{Len: ctlSize}, {Len: int(area), Mirror: true}},
		Locks:  []object.LockAt{{Name: "producer", Off: rowBase + row.ProducerLock}, {Name: "consumer", Off: rowBase + row.ConsumerLock}},
		Events: []int{rowBase + row.NotEmpty, rowBase + row.NotFull},
	}
	s.Params[paramArea] = area
	if o.Ack {
		s.Params[paramAck] = 1
	}
	s.Params[paramMax], s.Params[paramID] = uint64(o.MaxDeliveries), rand.Uint64()|1
	s.Init = func(r *mem.Region) { writeName(r.Span(0), o.DeadLetters) }
	if o.Ephemeral {
		s.Flags |= object.Ephemeral
	}
	return s, nil
}

func parts(h *object.Header) ([]mem.Part, error) {
	area, ack := h.Params[paramArea], h.Params[paramAck]
	if err := row.CheckArea(area); err != nil {
		return nil, err
	}
	if ack > 1 {
		return nil, fmt.Errorf("%w: acknowledgement mode %d", errs.ErrIncompatible, ack)
	}
	if h.Params[paramMax] > mostDeliveries || h.Params[paramMax] > 0 && ack == 0 {
		return nil, fmt.Errorf("%w: a limit of %d deliveries, with acknowledgement mode %d",
			errs.ErrIncompatible, h.Params[paramMax], ack)
	}
	return []mem.Part{{Len: ctlSize}, {Len: int(area), Mirror: true}}, nil
}
