package channel

import (
	"fmt"
	"log/slog"
	"math/bits"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

// Codec names how messages become bytes.
type Codec = schema.Codec

// Codecs. Auto takes Raw for []byte, Fixed for types without pointers, and CBOR for everything else.
const (
	Auto  = schema.Auto
	Bytes = schema.Raw
	Fixed = schema.Fixed
	CBOR  = schema.CBOR
	JSON  = schema.JSON
)

const (
	// DefaultCapacity is what each direction of a channel gets that asks for nothing else.
	DefaultCapacity = 256 << 10
	// DefaultAnonymous is the same of an anonymous channel.
	DefaultAnonymous = 32 << 10
	// DefaultLend is how long a channel waits, after its Close, for those who got references to it.
	DefaultLend = time.Minute
	// MaxWorkers bounds Options.Workers.
	MaxWorkers = 1024
)

// Options of a channel. The zero value is good. Those marked (creation) count only for who makes it.
type Options struct {
	// Capacity of each direction in bytes (creation), rounded up to a power of two, at least 4096; 0 means
	// DefaultCapacity. A message takes its length, rounded up to 8, and 8 bytes.
	Capacity int64
	// Ephemeral removes the channel with its last user, also when that dies (creation).
	Ephemeral bool
	// Label is free text for people, up to 256 bytes (creation).
	Label string
	// Codec of the messages; it must be the same for all who open the channel.
	Codec Codec
	// Side is which side Get opens; empty means SideB.
	Side Side
	// MaxReceive is the longest message in bytes that this handle copies out, 0 for any that fits. A
	// longer one is shiplap.ErrTooLarge, before memory is taken for it; it stays in the channel. Its envelope
	// counts.
	MaxReceive int
	// Wait is how this handle waits, if not as its domain does.
	Wait shiplap.WaitMode

	// Keep lets what this handle sends wait for whoever opens the other side next, when nobody has it open any more: a
	// process that is being restarted, say. Then Send waits only for room. Without it, it returns shiplap.ErrPeerGone.
	Keep bool

	// Workers is how many messages the handlers of this handle work on at the same time. With 1, which 0 stands
	// for, they see the messages in the order in which they were sent.
	Workers int
	// Logger gets the panics of handlers and messages that cannot be decoded; nil means slog.Default.
	Logger *slog.Logger
	// OnGone, if not nil, tells a passive handle that nobody has the other side open any more, when all that was
	// sent there has been handled: with io.EOF or shiplap.ErrPeerGone as Receive would. The handle goes on when somebody
	// opens that side again. Any other error comes once, and is the end: the channel was removed or is damaged.
	OnGone func(err error)

	// Lend is how long an ephemeral channel stays, when this handle is closed before all the references that it made
	// were opened, for whoever is about to open them; 0 means DefaultLend. It stays no longer than this process.
	Lend time.Duration
}

// orDefault is a copy to work with.
func (o *Options) orDefault() Options {
	if o == nil {
		return Options{Workers: 1, Lend: DefaultLend}
	}
	c := *o
	if c.Workers == 0 {
		c.Workers = 1
	}
	if c.Lend == 0 {
		c.Lend = DefaultLend
	}
	return c
}

func (o *Options) check() error {
	if o.Workers < 1 || o.Workers > MaxWorkers {
		return fmt.Errorf("%w: %d workers, possible are 1 to %d", errs.ErrTooLarge, o.Workers, MaxWorkers)
	}
	if o.Lend < 0 {
		return fmt.Errorf("%w: references lent for %v", errs.ErrTooLarge, o.Lend)
	}
	return nil
}

func (o *Options) logger() *slog.Logger {
	if o.Logger != nil {
		return o.Logger
	}
	return slog.Default()
}

// spec is what the channel is made of, but for what Init writes.
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
		Kind: object.Channel, Label: o.Label, Desc: d,
		Parts: spans(int(area)), Locks: locks(), Events: events(),
	}
	s.Params[paramArea] = area
	if o.Ephemeral {
		s.Flags |= object.Ephemeral
	}
	return s, nil
}

// number is the checked form; an empty side is the default.
func (s Side) number(empty side) (side, error) {
	switch s {
	case SideA:
		return sideA, nil
	case SideB:
		return sideB, nil
	case "":
		return empty, nil
	}
	return 0, fmt.Errorf("%w: side %.20q: a channel has %q and %q", errs.ErrName, string(s), SideA, SideB)
}
