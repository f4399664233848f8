package racetest

import (
	"os"
	"slices"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
)

// membership is one membership more of a process, which is one member whatever it has.
type membership struct{ *shiplap.Domain }

func init() {
	addStorm("member", storm[membership]{
		fixed:  true,
		create: func(b *bout) error { return made(lock.CreateMutex(b.d, object, nil)) },
		open: func(w *worker, d *shiplap.Domain) (membership, error) {
			m, err := w.join()
			return membership{m}, err
		},
		turn: (*hand).memberTurn,
		judge: func(b *bout) error {
			if _, err := b.d.Sweep(b.ctx, false); err != nil {
				return err
			}
			all, err := b.d.Members()
			if err != nil {
				return err
			}
			for _, h := range b.hires {
				listed := slices.ContainsFunc(all,
					func(p shiplap.Process) bool { return p.Pid == h.cmd.Process.Pid })
				switch {
				case h.living() && b.weather.Stay && !listed:
					b.violationf("unlisted", "process %d is a member, and not among %s", h.n, show(all))
				case !h.living() && listed:
					b.violationf("unswept", "process %d is dead, and still among %s", h.n, show(all))
				}
			}
			return nil
		},
	})
}

// memberTurn sweeps, or looks whether this process is a member.
func (h *hand) memberTurn(m membership) bool {
	if h.isClosing() {
		return false
	}
	if h.n%2 == 0 {
		err := h.call(opSweep, 0, func() error { _, err := m.Sweep(h.ctx, false); return err })
		return err == nil || h.ends("Sweep", err)
	}
	var all []shiplap.Process
	err := h.call(opLoad, 0, func() (err error) { all, err = m.Members(); return err })
	if err != nil {
		return h.ends("Members", err)
	}
	if pid := os.Getpid(); !slices.ContainsFunc(all,
		func(p shiplap.Process) bool { return p.Pid == pid && p.Alive }) && !h.isClosing() {
		h.complain("unlisted", "%v is of process %d, which is a member, and not among %s", h.me(), pid,
			show(all))
		return false
	}
	return true
}
