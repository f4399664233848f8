package pipe

import (
	"context"
	"sync/atomic"
)

// turn is a mutex whose waiters obey a context. The zero value is not ready: see init.
type turn struct {
	state atomic.Int32
	given chan struct{} // a hint that the turn may be free
}

const (
	turnFree int32 = iota
	turnTaken
	turnWanted // taken, and somebody may wait for it
)

func (t *turn) init() { t.given = make(chan struct{}, 1) }

// take waits for the turn. It fails only if the context ends before.
func (t *turn) take(ctx context.Context) error {
	if t.state.CompareAndSwap(turnFree, turnTaken) {
		return nil
	}
	// From here on it may be given up as wanted although nobody waits: that costs a hint.
	for t.state.Swap(turnWanted) != turnFree {
		select {
		case <-t.given:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (t *turn) give() {
	if t.state.Swap(turnFree) == turnWanted {
		select {
		case t.given <- struct{}{}:
		default: // there is a hint that nobody has taken yet
		}
	}
}
