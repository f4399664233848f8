//go:build explore

package explore

import (
	"encoding/binary"

	"github.com/shiplap-ipc/shiplap/internal/bell"
)

// Bells: the FIFO of each process is a queue of messages. A move of the schedule (dispatch) hands
// the first of them to the process's bell. Writing one is a step of the process that rings; going
// to sleep is a step as well.

// bells is what stands in for FIFOs and the poller.
type bells struct {
	of    map[int]*bell.Bell // by process
	fifo  map[int][]uint64
	owner map[*bell.Sleeper]*Proc
	awake map[*bell.Sleeper]bool // resumed before it slept
}

// home is a process as its bell sees it.
type home struct {
	r       *run
	process int
}

// Self implements bell.Home.
func (h home) Self() uint32 { return uint32(h.process) + 1 }

// Dead implements bell.Home.
func (h home) Dead(token uint32) bool {
	if p := current(); p != nil {
		return p.Owners().Dead(token)
	}
	return false
}

// Census implements bell.Home.
func (h home) Census() uint64 { return 0 }

// Bell is that of the process.
func (p *Proc) Bell() *bell.Bell {
	bs := &p.run.bells
	b := bs.of[p.process()]
	if b == nil {
		b = bell.New(home{p.run, p.process()}, nil)
		b.FirstTicket(uint32(p.process()) << 8)
		if bs.of == nil {
			*bs = bells{map[int]*bell.Bell{}, map[int][]uint64{}, map[*bell.Sleeper]*Proc{}, map[*bell.Sleeper]bool{}}
		}
		bs.of[p.process()] = b
	}
	return b
}

func installBells() {
	bell.OnRing, bell.OnArm, bell.OnPark, bell.OnResume = onRing, onArm, onPark, onResume
}

func onRing(token, ticket uint32, k int) (arrives, ok bool) {
	p := current()
	if p == nil {
		return false, active != nil
	}
	p.point()
	p.drain()
	to := int(token) - 1
	if to == p.process() {
		return false, false
	}
	arrives = !p.run.released(token)
	if arrives {
		p.read(1)
		p.run.bells.fifo[to] = append(p.run.bells.fifo[to], uint64(ticket)|uint64(k)<<32)
	} else {
		p.read(0)
	}
	return arrives, true
}

func onArm(s *bell.Sleeper) {
	if p := current(); p != nil {
		p.run.bells.owner[s] = p
	}
}

func onPark(s *bell.Sleeper) {
	p := current()
	if p == nil {
		return
	}
	delete(p.run.bells.awake, s)
	p.point()
	p.drain()
	if !p.run.bells.awake[s] {
		p.state, p.woken, p.parkedOn = asleep, notWoken, s
		p.sleeps = [2]uintptr{}
		p.point()
		p.parkedOn, p.woken = nil, notWoken
	}
	p.debts.instead, p.debts.owed = 0, false
	delete(p.run.bells.awake, s)
}

func onResume(s *bell.Sleeper) {
	if active == nil {
		return
	}
	p := active.bells.owner[s]
	if p != nil && p.state == asleep && p.parkedOn == s {
		p.state, p.woken = runnable, wokenUp
		return
	}
	active.bells.awake[s] = true
}

// dispatch hands a process its first message.
func (r *run) dispatch(p *Proc) {
	q := r.bells.fifo[p.process()]
	r.bells.fifo[p.process()] = q[1:]
	r.bells.of[p.process()].Dispatch(q[:1])
}

// hasRung reports that a message waits for the process that p stands for.
func (r *run) hasRung(p *Proc) bool {
	return p.state != dead && r.first(p) && len(r.bells.fifo[p.process()]) > 0 && r.bells.of[p.process()] != nil
}

// appendBells appends what the bells remember.
func (r *run) appendBells(b []byte) []byte {
	if r.bells.of == nil {
		return b
	}
	number := func(s *bell.Sleeper) byte {
		if p := r.bells.owner[s]; p != nil {
			return byte(p.ID)
		}
		return 255
	}
	for i := range r.procs {
		if bl := r.bells.of[i]; bl != nil {
			b = bl.AppendState(append(b, byte(i)), number)
		}
		for _, m := range r.bells.fifo[i] {
			b = binary.LittleEndian.AppendUint64(b, m)
		}
		for s, p := range r.bells.owner {
			if p.ID != i || p.state >= ended {
				continue
			}
			b = s.AppendState(b)
			if r.bells.awake[s] {
				b = append(b, 1)
			}
		}
	}
	return b
}
