package pipe

import (
	"fmt"
	"log/slog"
	"math/bits"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/row"
)

// DefaultCapacity is what each direction gets that asks for nothing else.
const DefaultCapacity = 1 << 20

// Options of a pipe. The zero value is good. Those marked (creation) count only for who makes it.
type Options struct {
	// Capacity of each direction in bytes (creation), rounded up to a power of two, at least 4096;
	// 0 means DefaultCapacity.
	Capacity int64
	// Ephemeral removes the pipe when no process has it open any more, even if one end was never
	// taken (creation): then Close says that what was sent is lost (ErrUnread). In any case it is removed
	// when both ends are finished.
	Ephemeral bool
	// Label is free text for people, up to 256 bytes (creation).
	Label string
	// MaxReceive is the longest message in bytes that this end copies out, 0 for any that fits. A longer one is
	// shiplap.ErrTooLarge, before memory is taken for it; it stays in the pipe. Its envelope
	// counts. Read and net.Conn are streams and need no bound.
	MaxReceive int
	// Wait is how this end waits, if not as its domain does.
	Wait shiplap.WaitMode
	// Logger of a listener is told when pipes cannot be accepted for want of descriptors or memory, when
	// one is skipped (debug), and when the listener closes because its own memory is damaged or gone; nil
	// means nobody.
	Logger *slog.Logger
}

func (o *Options) area() (uint64, error) {
	n := o.Capacity
	if n == 0 {
		n = DefaultCapacity
	}
	if n < 0 || n > row.MaxArea {
		return 0, fmt.Errorf("%w: a capacity of %d bytes, possible are %d to %d", errs.ErrTooLarge, n, row.MinArea, row.MaxArea)
	}
	return 1 << bits.Len64(uint64(max(n, row.MinArea))-1), nil
}
