//go:build explore

package explore

import (
	"context"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// once is a wait that is over after one sleep on a word, for protocols that the tests spell out, mistakes included.
type once struct {
	arm   func() (word *mem.U32, seen uint32)
	check func() bool // nil: no look between arming and sleep
	slept bool
}

// sleepOnce runs one.
func sleepOnce(arm func() (*mem.U32, uint32), check func() bool) error {
	var s wait.Session
	return s.Wait(context.Background(), &once{arm: arm, check: check})
}

func (o *once) Look(c *wait.Call) (bool, error) {
	if o.slept {
		return true, nil
	}
	o.slept = true
	c.On(o.arm())
	return o.check != nil && o.check(), nil
}

func (o *once) Stale() bool { return false }
func (o *once) Abandon()    {}

// armed arms as a variant of the protocol does.
func armed(v variant, w *mem.U32) func() (*mem.U32, uint32) {
	return func() (*mem.U32, uint32) { return w, v.arm(w) }
}

// recheck is the look before the sleep, unless the variant forgets it.
func recheck(v variant, check func() bool) func() bool {
	if v.noRecheck {
		return nil
	}
	return check
}
