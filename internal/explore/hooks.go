//go:build explore

package explore

import (
	"encoding/binary"
	"reflect"
	"slices"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

func install() {
	installBells()
	mem.OnAccess, mem.OnLoad, mem.OnStore = onAccess, onLoad, onStore
	futex.OnWake, futex.OnSleep, futex.OnPoked = onWake, onSleep, onPoked
	futex.OnCrowded = func() bool { return active != nil && active.x.opt.Watch }
	futex.OnTouch = onTouch
	wait.Clock = func() time.Duration {
		if active == nil {
			return time.Hour
		}
		if p := current(); p != nil {
			p.read(uint64(active.clock))
		}
		return active.clock
	}
}

// current is the process whose step this is, nil where it is none of the experiment.
func current() *Proc {
	if active == nil || active.cur == nil || active.cur.dying {
		return nil
	}
	return active.cur
}

// Memory.

func base(s *mem.Span) uintptr { return reflect.ValueOf(s.Bytes(0, 1)).Pointer() }

// at is the aligned memory around addr.
func (r *run) at(addr uintptr) []byte {
	for i, s := range r.sys.Memory {
		if addr >= r.bases[i] && addr-r.bases[i] < uintptr(s.Len()) {
			return s.Bytes(int(addr-r.bases[i]), min(8, s.Len()-int(addr-r.bases[i])))
		}
	}
	return nil
}

// private is the number of a word of System.Private.
func (r *run) private(addr uintptr) (int, bool) {
	for i, w := range r.words {
		if w.UnsafeAddr() == addr {
			return i, true
		}
	}
	return 0, false
}

// wordsOf appends the words of package mem that a struct has, at any depth.
func wordsOf(words []reflect.Value, v reflect.Value) []reflect.Value {
	switch v.Type() {
	case reflect.TypeFor[mem.U32](), reflect.TypeFor[mem.U64]():
		return append(words, v.Field(0))
	}
	if v.Kind() == reflect.Struct {
		for i := range v.NumField() {
			words = wordsOf(words, v.Field(i))
		}
	}
	return words
}

// offset tells words apart, also in the states of different runs.
func (r *run) offset(addr uintptr) int {
	n := 0
	for i, s := range r.sys.Memory {
		if addr >= r.bases[i] && addr-r.bases[i] < uintptr(s.Len()) {
			return n + int(addr-r.bases[i])
		}
		n += s.Len()
	}
	i, _ := r.private(addr)
	return n + 8*i
}

func (r *run) isClock(addr uintptr) bool {
	return len(r.sys.Clock) > 0 && addr >= r.bases[0] && slices.Contains(r.sys.Clock, int(addr-r.bases[0]))
}

func (r *run) isQuiet(addr uintptr) bool {
	for _, q := range r.sys.Quiet {
		if addr >= r.bases[0]+uintptr(q[0]) && addr < r.bases[0]+uintptr(q[1]) {
			return true
		}
	}
	return false
}

// value is the aligned 64-bit word that addr is part of.
func (r *run) value(addr uintptr) uint64 {
	if r.isClock(addr) {
		return 0
	}
	if i, ok := r.private(addr); ok {
		return r.words[i].Uint()
	}
	b := r.at(addr &^ 7)
	if len(b) < 8 {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// store is a store under way.
type store struct {
	addr uintptr
	v    uint64
	set  func()
}

func (p *Proc) flushOne() {
	s := p.stores[0]
	p.stores = p.stores[1:]
	s.set()
	p.wrote(s.addr)
}

func (p *Proc) drain() {
	for len(p.stores) > 0 {
		p.flushOne()
	}
}

func onAccess(addr uintptr, a mem.Access) {
	p := current()
	if p == nil {
		return
	}
	if a == mem.AccessPause {
		p.paused = true
	}
	if p.run.isQuiet(addr) {
		if a != mem.AccessLoad {
			p.Failf("writes where it should be quiet, at %d", p.run.offset(addr))
		}
		return
	}
	if _, private := p.run.private(addr); addr != 0 && !private && p.run.at(addr) == nil {
		return // nobody else has that word
	}
	if a == mem.AccessFull && len(p.stores) == 0 {
		return // it changes nothing
	}
	p.point()
	if p.run.unmapped>>p.process()&1 != 0 && p.run.at(addr) != nil {
		p.Failf("touches memory that it has unmapped, at %d", p.run.offset(addr))
	}
	switch a {
	case mem.AccessUpdate:
		p.drain()
		p.read(p.run.value(addr))
		p.looked(addr)
		p.wrote(addr)
	case mem.AccessFull:
		p.drain()
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
	if p.run.isQuiet(addr) {
		return 0, false
	}
	for _, s := range slices.Backward(p.stores) {
		if s.addr == addr {
			p.read(s.v)
			return s.v, true
		}
	}
	p.read(p.run.value(addr))
	p.looked(addr)
	return 0, false
}

func onStore(addr uintptr, size int, v uint64, release bool, set func()) bool {
	p := current()
	if p == nil {
		return false
	}
	opt := p.run.x.opt
	late := (opt.Buffers && release || opt.Weak) && (opt.Late == 0 || opt.Late>>p.ID&1 != 0)
	if _, private := p.run.private(addr); late && (private || p.run.at(addr) != nil) {
		p.stores = append(p.stores, store{addr, v, set})
		return true
	}
	if !release || opt.Weak {
		p.drain()
	}
	p.wrote(addr)
	return false
}

// The kernel's futex.

func onSleep(private, addr *uint32, val uint32, bound time.Duration) (int, syscall.Errno) {
	p := current()
	if p == nil {
		return 0, syscall.EAGAIN
	}
	p.point()
	p.drain()
	switch {
	case *private != 0:
		p.read(2)
		return 0, syscall.EAGAIN
	case *addr != val:
		p.read(3)
		return 0, syscall.EAGAIN
	}
	p.sleeps = [2]uintptr{reflect.ValueOf(private).Pointer(), reflect.ValueOf(addr).Pointer()}
	p.state, p.woken, p.bound = asleep, notWoken, bound
	p.run.queue = append(p.run.queue, p)
	p.point()
	how := p.woken
	p.woken = notWoken
	p.read(uint64(how) + 4)
	p.debts.instead, p.debts.owed = 0, false
	switch how {
	case timedOut:
		return 0, syscall.ETIMEDOUT
	case wokenPoked:
		return 0, 0
	}
	return 1, 0
}

func onWake(addr *uint32, n int) (woken int, ok bool) {
	if active == nil {
		return 0, false
	}
	a := reflect.ValueOf(addr).Pointer()
	if p := current(); p != nil && (p.run.at(a) != nil || p.run.sys.Touch) {
		p.point()
		p.drain()
		woken = p.run.wake(a, n)
		p.read(uint64(woken))
		return woken, true
	}
	return active.wake(a, n), true // of a Waiter, by somebody of its process: no step of its own
}

func (r *run) wake(addr uintptr, n int) (woken int) {
	var instead uint
	r.queue = slices.DeleteFunc(r.queue, func(q *Proc) bool {
		if q.sleeps[0] != addr && q.sleeps[1] != addr {
			return false
		}
		if woken >= n {
			q.debts.instead |= instead
			return false
		}
		instead |= 1 << q.process()
		q.state, q.woken = runnable, wokenUp
		if q.sleeps[0] == addr {
			q.woken = wokenPoked
		}
		woken++
		return true
	})
	return woken
}

func onPoked(poked bool) {
	if p := current(); p != nil && poked {
		p.read(9)
	}
}

func onTouch() {
	if p := current(); p != nil && p.run.sys.Touch {
		p.point()
	}
}
