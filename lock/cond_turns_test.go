package lock

import (
	"context"
	"sync"
	"testing"
	"time"
)

// Two handles hand a turn to and fro. Each signal is for the one that waits, which may be anywhere between its look at
// the turn and its sleep, so one that is lost stops both.
func TestCondTurns(t *testing.T) {
	d := join(t)
	defer must(CreateMutex(d, "m", nil))(t).Close()
	defer must(CreateCond(d, "c", nil))(t).Close()
	n := rounds(20_000)
	turn := 0 // guarded by the mutex
	var wg sync.WaitGroup
	for me := range 2 {
		m, c := must(OpenMutex(d, "m"))(t), must(OpenCond(d, "c"))(t)
		wg.Go(func() {
			defer c.Close()
			defer m.Close()
			for i := range n {
				ok(t, m.Lock(bg))
				ctx, cancel := context.WithTimeout(bg, 20*time.Second)
				err := c.WaitFor(ctx, m, func() bool { return turn == me })
				if cancel(); err != nil {
					t.Errorf("%d, turn %d of %d: %v", me, i, n, err)
					ok(t, m.Unlock())
					return
				}
				turn = 1 - me
				ok(t, c.Signal(), m.Unlock())
			}
		})
	}
	wg.Wait()
}
