package pipe

import (
	"errors"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// ErrUnread is what closing the last handle on a pipe returns if something was sent to an end that
// nobody had ever taken, and is gone with the pipe.
var ErrUnread = errors.New("nobody received what was sent")

// closeAndCount closes a handle on a pipe. The one that closes the last one of an ephemeral pipe is told what
// goes with it.
func closeAndCount(o *object.Object) error {
	if !o.Gate.Enter() {
		return o.Close()
	}
	defer o.Gate.Leave()
	var messages, bytes uint64
	_ = object.Guarded(func() error {
		if o.Flags&object.Ephemeral != 0 && o.Err() == nil { // else it stays, or somebody removed it with what is in it
			messages, bytes = unread(o)
		}
		return nil
	})
	err := o.Close()
	gone := false
	_ = object.Guarded(func() error {
		gone = o.Err() != nil
		return nil
	})
	if messages == 0 || !gone { // others have it open, or it stays without
		return err
	}
	return errors.Join(fmt.Errorf("pipe %q: %w: %d messages, %d bytes in the pipe, went with it; keep it open until the other end "+
		"is taken (see Drain and NewPair), or make it without Ephemeral", o.Name, ErrUnread, messages, bytes), err)
}

// unread is what lies in the rings of ends that were never taken.
func unread(o *object.Object) (messages, bytes uint64) {
	opened := o.Ctl.U32(offOpened).Load()
	for _, s := range []side{sideA, sideB} {
		if opened&(1<<s) != 0 {
			continue
		}
		var sess wait.Session
		if st, err := view(o, s.in(), wait.Sleep, &sess).Stats(); err == nil {
			messages += st.Depth
			bytes += st.Used
		}
	}
	return messages, bytes
}
