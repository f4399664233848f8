package mem

import (
	"fmt"
	"runtime/debug"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Guard turns a fault in a mapping (a peer truncated the file, or memory for it could not be had)
// into an error of the call:
//
//	func (q *Queue) Put(...) (err error) {
//		g := mem.Protect()
//		defer g.Recover(&err)
//		...
//		g.Done = true // on every way out that is not a panic
//
// Done spares the deferred function its look for a panic; forgetting it costs some nanoseconds only.
type Guard struct {
	old  bool
	Done bool
}

// Protect makes faults of this goroutine panics until Recover.
func Protect() Guard { return Guard{old: debug.SetPanicOnFault(true)} }

// Recover must be deferred directly. It re-panics what is not a fault in a mapping.
func (g *Guard) Recover(err *error) {
	g.End()
	if !g.Done {
		g.Caught(recover(), err)
	}
}

// End undoes Protect. It is for deferred functions that do more than Recover; unless Done is set they
// hand what recover gave them to Caught.
func (g *Guard) End() { debug.SetPanicOnFault(g.old) }

// Caught turns a recovered value into an error if it was a fault in a mapping, and panics with others.
func (g *Guard) Caught(v any, err *error) {
	if v == nil {
		return
	}
	e := FaultError(v)
	if e == nil {
		panic(v)
	}
	*err = e
}

// IsFault reports whether a recovered panic value was a fault, in a mapping or where one has been.
func IsFault(v any) bool {
	_, ok := v.(interface {
		error
		Addr() uintptr
	})
	return ok
}

// FaultError is the error for a recovered panic value that was a fault in a mapping, nil for others.
func FaultError(v any) error {
	f, ok := v.(interface {
		error
		Addr() uintptr
	})
	if !ok || !isMapped(f.Addr()) {
		return nil
	}
	return fmt.Errorf("%w: the memory is not there any more (file truncated by somebody, or its file system is out of space)", errs.ErrCorrupt)
}
