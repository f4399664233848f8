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
	debug.SetPanicOnFault(g.old)
	if g.Done {
		return
	}
	v := recover()
	if v == nil {
		return
	}
	if e := FaultError(v); e != nil {
		*err = e
		return
	}
	panic(v)
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
