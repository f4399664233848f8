package lock

import (
	"errors"
	"fmt"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
)

func init() {
	// The process waits at a barrier, and says how that ended.
	roles["meet"] = func(d *shiplap.Domain, _ int) error {
		b, err := OpenBarrier(d, "b")
		if err != nil {
			return err
		}
		_, err = b.Wait(bg)
		switch {
		case err == nil:
			peertest.Say("met")
		case errors.Is(err, ErrBroken):
			peertest.Say("broken")
		default:
			peertest.Say(err)
		}
		return b.Close()
	}
}

// One that died while it waited breaks the barrier also if another process has got its member slot before anybody
// looked, whose entry takes the place of the dead one's.
func TestBarrierSlotOfTheDead(t *testing.T) {
	for _, parties := range []int{2, 3} {
		t.Run(fmt.Sprint(parties), func(t *testing.T) {
			d := join(t)
			b := must(CreateBarrier(d, "b", parties, nil))(t)
			p := peertest.Start(t, d, "meet", 0)
			eventually(t, "an arrival", func() bool { return must(b.Stats())(t).Waiting == 1 })
			p.Kill()
			must(d.Sweep(bg, false))(t)
			heir := peertest.Start(t, d, "meet", 0)
			if parties > 2 {
				eventually(t, "an arrival", func() bool { return must(b.Stats())(t).Waiting == 2 || must(b.Stats())(t).Broken })
				if _, err := b.Wait(bg); !errors.Is(err, ErrBroken) {
					t.Errorf("the last one meets a dead one: %v", err)
				}
			}
			heir.Says("broken")
			heir.Ends()
			ok(t, b.Close())
		})
	}
}
