package lock

import (
	"errors"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
)

// ephemeral are locks that go with their last user: how a process holds one, and how a rival tries to get it.
var ephemeral = []struct {
	name        string
	hold, rival func(d *shiplap.Domain) (holding, error)
}{
	{"mutex", ephemeralMutex, ephemeralMutex},
	{"rwmutex for writing", ephemeralWriter, ephemeralWriter},
	{"rwmutex for reading", ephemeralReader, ephemeralWriter},
	{"semaphore", ephemeralSemaphore, ephemeralSemaphore},
}

// holding is a handle, and one way to hold something through it.
type holding struct{ take, giveBack, close func() error }

func ephemeralMutex(d *shiplap.Domain) (holding, error) {
	m, err := OpenOrCreateMutex(d, "lock", &Options{Ephemeral: true})
	return holding{m.TryLock, m.Unlock, m.Close}, err
}

func ephemeralWriter(d *shiplap.Domain) (holding, error) {
	m, err := OpenOrCreateRWMutex(d, "lock", &Options{Ephemeral: true})
	return holding{m.TryLock, m.Unlock, m.Close}, err
}

func ephemeralReader(d *shiplap.Domain) (holding, error) {
	m, err := OpenOrCreateRWMutex(d, "lock", &Options{Ephemeral: true})
	return holding{m.TryRLock, m.RUnlock, m.Close}, err
}

func ephemeralSemaphore(d *shiplap.Domain) (holding, error) {
	s, err := OpenOrCreateSemaphore(d, "lock", 1, &SemaphoreOptions{Options: Options{Ephemeral: true}})
	take := func() error { return s.TryAcquire(1) }
	giveBack := func() error { return s.Release(1) }
	return holding{take, giveBack, s.Close}, err
}

func init() {
	// The process holds the lock through a handle that it closes, and leaves the domain.
	roles["hold on"] = func(d *shiplap.Domain, i int) error {
		h, err := ephemeral[i].hold(d)
		if err != nil {
			return err
		}
		if err := errors.Join(h.take(), h.close(), d.Close()); err != nil {
			return err
		}
		peertest.Say("closed")
		peertest.Hear()
		err = h.giveBack()
		peertest.Say("given back")
		peertest.Hear()
		return err
	}
}

// A lock that goes with its last user stays, with its name, while somebody holds it through a handle that is closed:
// else another process would make a new one, and hold that as well.
func TestEphemeralHeldThroughClose(t *testing.T) {
	for i, e := range ephemeral {
		for _, alone := range []bool{true, false} {
			name := e.name + ", the last user"
			if !alone {
				name = e.name + ", another closes later"
			}
			t.Run(name, func(t *testing.T) {
				d := join(t)
				var other holding
				if !alone {
					var err error
					other, err = e.rival(d)
					ok(t, err)
				}
				p := peertest.Start(t, d, "hold on", i)
				p.Says("closed")
				if !alone {
					ok(t, other.close())
				}
				rival, err := e.rival(d)
				ok(t, err)
				if err := rival.take(); !errors.Is(err, shiplap.ErrBusy) {
					t.Errorf("a rival's try while another process holds it: %v", err)
				}
				ok(t, rival.close())
				p.Tell("go")
				p.Says("given back")
				if all, err := d.List(); err != nil || len(all) != 0 {
					t.Errorf("after the last hold there are %v, %v", all, err)
				}
				p.Ends()
			})
		}
	}
}
