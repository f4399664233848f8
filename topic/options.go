package topic

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

// Policy says what happens when a subscriber does not keep up.
type Policy uint8

const (
	// Block makes publishers wait for the slowest living subscriber.
	Block Policy = iota
	// Overwrite lets publishers overwrite what slow subscribers have not read.
	Overwrite
)

// String is "block" or "overwrite".
func (p Policy) String() string {
	switch p {
	case Block:
		return "block"
	case Overwrite:
		return "overwrite"
	}
	return fmt.Sprintf("policy %d", uint8(p))
}

// ErrLagged is the error of a subscriber that was too slow for a topic with Overwrite: N messages are gone. The next
// Receive goes on behind them. Get at it with errors.As.
type ErrLagged = row.Lagged

// Codec names how messages become bytes.
type Codec = schema.Codec

// Codecs. Auto takes Bytes for []byte, Fixed for types without pointers, and CBOR for everything else.
const (
	Auto  = schema.Auto
	Bytes = schema.Raw
	Fixed = schema.Fixed
	CBOR  = schema.CBOR
	JSON  = schema.JSON
)

const (
	// DefaultCapacity is what a topic gets that asks for nothing else.
	DefaultCapacity = 1 << 20
	// DefaultSubscribers is how many subscribers a topic can have that asks for nothing else.
	DefaultSubscribers = 256
	// MaxSubscribers is the most that can be asked for.
	MaxSubscribers = row.MaxSlots
)

// Options of a topic. The zero value is good. Those marked (creation) count only for who makes it.
type Options struct {
	// Capacity in bytes (creation), rounded up to a power of two, at least 4096; 0 means DefaultCapacity. A message
	// takes its length, rounded up to 8, and 16 bytes.
	Capacity int64
	// Policy for slow subscribers (creation).
	Policy Policy
	// Subscribers is how many there can be at a time (creation), rounded up to a multiple of 32; 0 means
	// DefaultSubscribers.
	Subscribers int
	// Ephemeral removes the topic with its last user, also when that dies (creation).
	Ephemeral bool
	// Label is free text for people, up to 256 bytes (creation).
	Label string
	// Codec of the messages; it must be the same for all who open the topic.
	Codec Codec
	// MaxReceive is the longest message in bytes that this handle copies out, 0 for any that fits. A
	// longer one is shiplap.ErrTooLarge, before memory is taken for it; the next call goes on behind it. Its
	// envelope counts.
	MaxReceive int
	// Wait is how this handle waits, if not as its domain does.
	Wait shiplap.WaitMode
}

// SubOptions of a subscription. The zero value is good.
type SubOptions struct {
	// Last is how many messages of before to begin with, as many of them as are still there.
	Last int
}

const (
	paramArea   = 0 // bytes of the ring
	paramPolicy = 1
	paramSlots  = 2

	rowBase   = object.HeaderSize
	tableBase = 2 * object.HeaderSize
	pageSlots = object.HeaderSize / row.SlotSize
)

func (o *Options) spec(d schema.Descriptor) (object.Spec, error) {
	fail := func(format string, a ...any) (object.Spec, error) {
		return object.Spec{}, fmt.Errorf("%w: "+format, append([]any{errs.ErrTooLarge}, a...)...)
	}
	n, subs := o.Capacity, o.Subscribers
	if n == 0 {
		n = DefaultCapacity
	}
	if subs == 0 {
		subs = DefaultSubscribers
	}
	if n < 0 || n > row.MaxArea {
		return fail("a capacity of %d bytes, possible are %d to %d", n, row.MinArea, row.MaxArea)
	}
	if subs < 0 || subs > MaxSubscribers {
		return fail("%d subscribers, possible are 1 to %d", subs, MaxSubscribers)
	}
	if o.Policy > Overwrite {
		return object.Spec{}, fmt.Errorf("%w: %v; there are Block and Overwrite", errs.ErrUnsupported, o.Policy)
	}
	area := uint64(1) << bits.Len64(uint64(max(n, row.MinArea))-1)
	slots := uint64(subs+pageSlots-1) / pageSlots * pageSlots
	s := object.Spec{
		Kind: object.Topic, Label: o.Label, Desc: d,
		Parts:  topicParts(area, slots),
		Locks:  []object.LockAt{{Name: "publisher", Off: rowBase + row.ProducerLock}},
		Events: []int{rowBase + row.Published, rowBase + row.Room},
	}
	s.Params[paramArea], s.Params[paramPolicy], s.Params[paramSlots] = area, uint64(o.Policy), slots
	if o.Ephemeral {
		s.Flags |= object.Ephemeral
	}
	return s, nil
}

func topicParts(area, slots uint64) []mem.Part {
	return []mem.Part{{Len: tableBase + int(slots)*row.SlotSize}, {Len: int(area), Mirror: true}}
}

func parts(h *object.Header) ([]mem.Part, error) {
	area, policy, slots := h.Params[paramArea], h.Params[paramPolicy], h.Params[paramSlots]
	if err := row.CheckArea(area); err != nil {
		return nil, err
	}
	if err := row.CheckSlots(slots); err != nil {
		return nil, err
	}
	if slots%pageSlots != 0 {
		return nil, fmt.Errorf("%w: a topic for %d subscribers, which is no multiple of %d", errs.ErrCorrupt, slots, pageSlots)
	}
	if policy > uint64(Overwrite) {
		return nil, fmt.Errorf("%w: topic policy %d", errs.ErrIncompatible, policy)
	}
	return topicParts(area, slots), nil
}
