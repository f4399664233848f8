package topic_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
)

// interruptScenarios are those of the kill trials, with what may be taken from under them, and some in
// which the operation waits.
func interruptScenarios() (all []killtest.Scenario) {
	for _, s := range scenarios() {
		i := slices.IndexFunc(scenes, func(c *scene) bool { return c.name == s.Name })
		s.Interrupt = &killtest.Interruption{}
		if i >= 0 {
			s.Interrupt.Check = exactly(scenes[i])
			if !scenes[i].closes {
				s.Interrupt.Await = goesAround
			}
			if c := scenes[i]; c.puts > 0 && !c.overwrite && !strings.Contains(s.Name, "Try") {
				s.Interrupt.Grabs = append(s.Interrupt.Grabs, ofRoom)
				if !c.holds {
					s.Interrupt.Grabs = append(s.Interrupt.Grabs, ofSide)
				}
			}
			if scenes[i].gets > 0 && scenes[i].overwrite {
				s.Interrupt = nil // it forgets an error
			}
		}
		all = append(all, s)
	}
	c := &scene{name: "subscription/Receive, nothing comes", reads: true, op: now(func(v *victim) error { return v.note(v.sub.Receive(bg, v.buf)) })}
	w := c.scenario()
	w.Interrupt = &killtest.Interruption{Waits: true, Check: exactly(c)}
	return append(all, w)
}

// goesAround is what survivors do who wait for a victim that dies while it forks: they publish more
// than the ring holds.
func goesAround(_ *killtest.Trial, state any) error {
	w := state.(*world)
	return killtest.Promptly("publish", func(ctx context.Context) error {
		for range 40 {
			if err := w.drain(shiplap.ErrEmpty); err != nil {
				return err
			}
			i := bySurvivor + len(w.put)
			if err := w.r.Publish(ctx, message(i, length)); err != nil {
				return err
			}
			w.put = append(w.put, i)
		}
		return nil
	})
}

// exactly: what an operation has published is there if it returned no error, and else not, unless it
// was several messages.
func exactly(s *scene) func(t *killtest.Trial, state any) error {
	return func(t *killtest.Trial, state any) error {
		err := s.check(t, state)
		if err == nil && t.Failed() && s.puts == 1 {
			if w := state.(*world); slices.Contains(w.got, byVictim) {
				err = fmt.Errorf("publishing returned %q, and the message came: %v", t.Err, w.got)
			}
		}
		return err
	}
}

// ofRoom fills the ring of a topic, whose subscriber then receives.
var ofRoom = killtest.Grab{Of: "all room", Take: func(_ *killtest.Trial, state any) (letGo func() error, err error) {
	w := state.(*world)
	for n := 0; ; n++ {
		err := w.publish()
		if errors.Is(err, shiplap.ErrFull) || errors.Is(err, shiplap.ErrBusy) {
			if n == 0 {
				return nil, nil
			}
			return func() error { return nil }, nil
		}
		if err != nil {
			return nil, err
		}
	}
}}

var ofSide = killtest.Grab{Of: "the publishing side", Take: func(_ *killtest.Trial, state any) (letGo func() error, err error) {
	w := state.(*world)
	if w.holder(false) != nil {
		return nil, nil
	}
	p, err := w.r.Publisher(bg)
	if err != nil {
		return nil, err
	}
	return p.Close, nil
}}

func TestInterruptedAnywhere(t *testing.T) { killtest.RunInterrupts(t, interruptScenarios()...) }
