package queue

import (
	"fmt"
	"math/bits"

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
	// Ephemeral removes the queue with its last user, also when that dies (creation).
	Ephemeral bool
	// Label is free text for people, up to 256 bytes (creation).
	Label string
	// Codec of the elements; it must be the same for all who open the queue.
	Codec Codec
	// MaxReceive is the longest message in bytes that this handle copies out, 0 for any that fits. A longer one is
	// shiplap.ErrTooLarge, before memory is taken for it; it stays in the queue, for others, or for GetMany and Peek, which do
	// not copy.
	MaxReceive int
	// Undecodable gets the deliveries that Deliveries of this handle cannot decode, and settles them: with Ack once
	// the bytes are safe elsewhere, or with Nack.
	Undecodable func(*UndecodableDelivery)
	// Wait is how this handle waits, if not as its domain does.
	Wait shiplap.WaitMode
}

const (
	paramArea = 0 // bytes of the ring
	paramAck  = 1 // 1 with acknowledgement

	rowBase = object.HeaderSize
	ctlSize = object.HeaderSize + 4096
)

func (o *Options) spec(d schema.Descriptor) (object.Spec, error) {
	n := o.Capacity
	if n == 0 {
		n = DefaultCapacity
	}
	if n < 0 || n > row.MaxArea {
		return object.Spec{}, fmt.Errorf("%w: a capacity of %d bytes, possible are %d to %d", errs.ErrTooLarge, n, row.MinArea, row.MaxArea)
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
	return []mem.Part{{Len: ctlSize}, {Len: int(area), Mirror: true}}, nil
}
