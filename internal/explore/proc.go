//go:build explore

package explore

import (
	"encoding/binary"
	"fmt"
	"iter"
	"reflect"
	"runtime/debug"
	"slices"

	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

type state byte

const (
	runnable state = iota
	asleep
	ended
	dead
)

const (
	notWoken byte = iota
	wokenUp
	timedOut
)

// Proc is one process of an experiment.
type Proc struct {
	ID  int
	run *run

	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	dying bool // unwinding at the end of the schedule

	state    state
	paused   bool
	addr     uintptr // what it sleeps on
	woken    byte
	timeouts int
	history  uint64 // all values it has read
	stores   []store
}

// store is a StoreRelease under way.
type store struct {
	addr uintptr
	size int
	v    uint64
}

func (p *Proc) coroutine(body func(*Proc)) iter.Seq[struct{}] {
	return func(yield func(struct{}) bool) {
		p.yield = yield
		defer func() {
			if v := recover(); v != nil && v != errKilled && !p.dying {
				p.run.failed = fmt.Errorf("process %d panics: %v\n%s", p.ID, v, debug.Stack())
			}
		}()
		body(p)
	}
}

// point is a point of scheduling. Behind it the process does its access, undisturbed until the next.
func (p *Proc) point() {
	if p.dying {
		return
	}
	if !p.yield(struct{}{}) {
		p.dying = true
		panic(errKilled)
	}
	p.read(0) // one step further, whatever it reads
}

func (p *Proc) read(v uint64) {
	const prime = 0x9e3779b97f4a7c15
	p.history = (p.history ^ v + 1) * prime
	p.history ^= p.history >> 29
}

// State says that the process remembers nothing but v of what it has read, so that schedules which
// differ in the rest only are explored once.
func (p *Proc) State(v int) { p.history = uint64(v) }

// Failf ends the schedule as a failure.
func (p *Proc) Failf(format string, a ...any) {
	if p.dying {
		return
	}
	if p.run.failed == nil {
		p.run.failed = fmt.Errorf("process %d: "+format, append([]any{p.ID}, a...)...)
	}
}

func (p *Proc) appendState(b []byte) []byte {
	if p.state >= ended { // what it knew matters no more
		p.history = 0
	}
	b = append(b, byte(p.state), p.woken, byte(p.timeouts))
	if p.paused {
		b = append(b, 1)
	}
	b = binary.LittleEndian.AppendUint64(b, p.history)
	for _, s := range p.stores {
		b = binary.LittleEndian.AppendUint32(b, uint32(p.run.offset(s.addr)))
		b = binary.LittleEndian.AppendUint64(b, s.v)
	}
	return append(b, byte(len(p.stores)))
}

// Owners is who lives in the eyes of process p: the tokens are its number plus 1.
func (p *Proc) Owners() Owners { return Owners{p} }

// Owners implements wordlock.Owners.
type Owners struct{ p *Proc }

func (o Owners) Self() uint32 { return uint32(o.p.ID) + 1 }

// Dead asks the kernel.
func (o Owners) Dead(token uint32) bool {
	if token == o.Self() {
		return false
	}
	if active == nil || o.p.dying {
		return true
	}
	o.p.point()
	if token == 0 || int(token) > len(o.p.run.procs) {
		return true
	}
	d := o.p.run.procs[token-1].state == dead
	if d {
		o.p.read(1)
	} else {
		o.p.read(0)
	}
	return d
}

// Watch is not to be had: sleeps end by their bounds.
func (o Owners) Watch(uint32, func()) func() { return func() {} }

// Memory.

func base(s *mem.Span) uintptr { return reflect.ValueOf(s.Bytes(0, 1)).Pointer() }

// at is the aligned memory around addr.
func (r *run) at(addr uintptr) []byte {
	for i, s := range r.sys.Memory {
		if addr >= r.bases[i] && addr-r.bases[i] < uintptr(s.Len()) {
			return s.Bytes(int(addr-r.bases[i]), min(8, s.Len()-int(addr-r.bases[i])))
		}
	}
	return nil // a word of the process's own, such as a Pin
}

func (r *run) offset(addr uintptr) int {
	n := 0
	for i, s := range r.sys.Memory {
		if addr >= r.bases[i] && addr-r.bases[i] < uintptr(s.Len()) {
			return n + int(addr-r.bases[i])
		}
		n += s.Len()
	}
	return n
}

func (r *run) isClock(addr uintptr) bool {
	return len(r.sys.Clock) > 0 && addr >= r.bases[0] && slices.Contains(r.sys.Clock, int(addr-r.bases[0]))
}

// value is the aligned 64-bit word that addr is part of.
func (r *run) value(addr uintptr) uint64 {
	if r.isClock(addr) {
		return 0
	}
	b := r.at(addr &^ 7)
	if len(b) < 8 {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

func (p *Proc) flushOne() {
	s := p.stores[0]
	p.stores = p.stores[1:]
	b := p.run.at(s.addr)
	if s.size == 4 {
		binary.LittleEndian.PutUint32(b, uint32(s.v))
	} else {
		binary.LittleEndian.PutUint64(b, s.v)
	}
}

func (p *Proc) drain() {
	for len(p.stores) > 0 {
		p.flushOne()
	}
}

// Hooks.

func install() {
	mem.OnAccess = onAccess
	mem.OnLoad = onLoad
	mem.OnRelease = onRelease
	wait.WakeFutex = onWake
	wait.SleepFutex = onSleep
}

func current() *Proc {
	if active == nil || active.cur == nil || active.cur.dying {
		return nil
	}
	return active.cur
}

func onAccess(addr uintptr, a mem.Access) {
	p := current()
	if p == nil {
		return
	}
	if a == mem.AccessPause {
		p.paused = true
	}
	p.point()
	switch a {
	case mem.AccessStore:
		p.drain()
	case mem.AccessUpdate:
		p.drain()
		p.read(p.run.value(addr))
	case mem.AccessFence:
		for _, q := range p.run.procs {
			q.drain()
		}
	}
}

func onLoad(addr uintptr) (v uint64, ok bool) {
	p := current()
	if p == nil {
		return 0, false
	}
	for _, s := range slices.Backward(p.stores) {
		if s.addr == addr {
			p.read(s.v)
			return s.v, true
		}
	}
	p.read(p.run.value(addr))
	return 0, false
}

func onRelease(addr uintptr, size int, v uint64) bool {
	p := current()
	if p == nil || !p.run.x.opt.Buffers || p.run.at(addr) == nil {
		return false
	}
	p.stores = append(p.stores, store{addr, size, v})
	return true
}

// The kernel's futex.

func onSleep(w *mem.U32, seen uint32) futex.Result {
	p := current()
	if p == nil {
		return futex.Woken
	}
	p.point()
	p.drain()
	if *w.Ptr() != seen {
		p.read(2)
		return futex.Changed
	}
	p.addr, p.state, p.woken = reflect.ValueOf(w).Pointer(), asleep, notWoken
	p.run.queue = append(p.run.queue, p)
	p.point()
	how := p.woken
	p.woken = notWoken
	p.read(uint64(how) + 3)
	if how == timedOut {
		return futex.TimedOut
	}
	return futex.Woken
}

func onWake(w *mem.U32, n int) int {
	p := current()
	if p == nil {
		return 0
	}
	p.point()
	p.drain()
	woke := 0
	addr := reflect.ValueOf(w).Pointer()
	p.run.queue = slices.DeleteFunc(p.run.queue, func(q *Proc) bool {
		if q.addr != addr || woke >= n {
			return false
		}
		q.state, q.woken = runnable, wokenUp
		woke++
		return true
	})
	p.read(uint64(woke))
	return woke
}
