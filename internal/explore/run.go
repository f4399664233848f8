//go:build explore

package explore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// move is one choice.
type move struct {
	proc int8
	kind moveKind
}

type moveKind byte

const (
	step    moveKind = 's'
	kill    moveKind = 'k'
	release moveKind = 'r' // the locks of a process that died
	notice  moveKind = 'n' // to the process, of a death
	flush   moveKind = 'f'
	timeout moveKind = 't'
	rung    moveKind = 'b' // a message of the process's bell is read
)

func (m move) String() string {
	if m.kind == step {
		return fmt.Sprint(m.proc)
	}
	return fmt.Sprintf("%c%d", m.kind, m.proc)
}

// parse is the inverse of String.
func parse(trace string) (ms []move) {
	for _, f := range strings.Fields(trace) {
		m := move{kind: step}
		if f[0] > '9' {
			m.kind, f = moveKind(f[0]), f[1:]
		}
		n, err := strconv.Atoi(f)
		if err != nil {
			panic(err)
		}
		m.proc = int8(n)
		ms = append(ms, m)
	}
	return ms
}

// choice is one point of the schedule under way.
type choice struct {
	moves []move
	next  int // index of the one taken
}

type explorer struct {
	opt   Options
	build func() *System
	path  []choice
	trace []move
	seen  map[uint64]int16 // best remaining switches, +1
	res   Result
	seed  maphash.Seed
}

// Run explores all schedules of the systems that build makes, and returns a *Failure for the first
// that breaks a promise.
func Run(opt Options, build func() *System) (Result, error) {
	if opt.MaxSteps == 0 {
		opt.MaxSteps = 5000
	}
	if opt.Mortal == 0 {
		opt.Mortal = ^uint(0)
	}
	x := &explorer{opt: opt, build: build, seen: map[uint64]int16{}, seed: maphash.MakeSeed(), trace: parse(opt.Trace)}
	install()
	for {
		if err := x.schedule(); err != nil {
			return x.res, err
		}
		for len(x.path) > 0 {
			c := &x.path[len(x.path)-1]
			if c.next++; c.next < len(c.moves) {
				break
			}
			x.path = x.path[:len(x.path)-1]
		}
		if len(x.path) == 0 {
			x.res.Complete = true
			return x.res, nil
		}
		if len(x.trace) > 0 || opt.Limit > 0 && x.res.Schedules >= opt.Limit {
			return x.res, nil
		}
	}
}

// schedule runs the experiment once along x.path, and on from its end by first choices.
func (x *explorer) schedule() (err error) {
	r := newRun(x)
	x.res.Schedules++
	defer func() {
		if e := r.end(); e != nil && err == nil {
			err = e
		}
		if err != nil {
			err = &Failure{err, r.trace()}
		}
	}()
	for depth := 0; ; depth++ {
		x.res.Longest = max(x.res.Longest, depth)
		if r.failed != nil {
			return r.failed
		}
		moves := r.moves()
		if len(moves) == 0 {
			x.res.Ended++
			return r.final()
		}
		if depth > x.opt.MaxSteps {
			return fmt.Errorf("no end after %d steps", depth)
		}
		if depth == len(x.path) {
			x.res.States++
			if x.known(r) {
				x.res.States--
				return nil
			}
			c := choice{moves: moves}
			if depth < len(x.trace) {
				if c.next = slices.Index(moves, x.trace[depth]); c.next < 0 {
					return fmt.Errorf("the trace does not fit at step %d: %v is not among %v", depth, x.trace[depth], moves)
				}
				c.moves = moves[:c.next+1]
			}
			x.path = append(x.path, c)
		}
		c := x.path[depth]
		m := c.moves[c.next]
		r.do(m)
		x.res.Steps++
	}
}

func (x *explorer) known(r *run) bool {
	if x.opt.NoStates {
		return false
	}
	left := int16(1)
	if x.opt.Switches > 0 {
		left = int16(x.opt.Switches-r.switches) + 1
	}
	k := r.key()
	if x.seen[k] >= left {
		return true
	}
	x.seen[k] = left
	return false
}

// run is one schedule under way.
type run struct {
	x        *explorer
	sys      *System
	procs    []*Proc
	cur      *Proc // who runs now
	last     int   // who ran before
	switches int
	clock    time.Duration // time passes only where a sleep ends by its bound
	deaths   int
	free     uint // bit i: the locks of process i, which is dead or has left, are released
	unmapped uint // bit i: process i has no memory any more
	watches  []*watch
	bells    bells
	queue    []*Proc // sleepers, in order of arrival, all words
	failed   error
	steps    []move
	buf      []byte
	bases    []uintptr
	words    []reflect.Value // of System.Private
}

// lastProcs are the processes of the run under way, for Idle and Final.
var lastProcs []*Proc

// active is the run that the hooks belong to: there is one at a time.
var active *run

func newRun(x *explorer) *run {
	active = nil // building is not part of the schedule
	r := &run{x: x, sys: x.build(), last: -1, clock: time.Hour}
	for _, s := range r.sys.Memory {
		r.bases = append(r.bases, base(s))
	}
	for _, v := range r.sys.Private {
		r.words = wordsOf(r.words, reflect.ValueOf(v).Elem())
	}
	for i, body := range r.sys.Procs {
		p := &Proc{ID: i, run: r}
		p.next, p.stop = iter.Pull(p.coroutine(body))
		r.procs = append(r.procs, p)
	}
	active, lastProcs = r, r.procs
	for _, p := range r.procs {
		r.resume(p) // to its first access
	}
	return r
}

// end unwinds what still stands. Nothing of it counts.
func (r *run) end() error {
	for _, p := range r.procs {
		p.dying = true
		r.cur = p
		p.stop()
	}
	active = nil
	return r.failed
}

func (r *run) resume(p *Proc) {
	r.cur = p
	if _, more := p.next(); !more {
		p.state = ended
	}
	r.cur = nil
}

// moves are the choices there are; the first is to go on with the process that ran last.
func (r *run) moves() []move {
	var ms []move
	add := func(p *Proc) {
		if p.state == runnable && !p.paused {
			ms = append(ms, move{int8(p.ID), step})
		}
	}
	canGoOn := false
	if r.last >= 0 {
		add(r.procs[r.last])
		canGoOn = len(ms) > 0
	}
	bounded := r.x.opt.Switches > 0 && canGoOn && r.switches >= r.x.opt.Switches
	if !bounded {
		for _, p := range r.procs {
			if p.ID != r.last {
				add(p)
			}
		}
	}
	for _, p := range r.procs {
		if len(p.stores) > 0 {
			ms = append(ms, move{int8(p.ID), flush})
		}
	}
	for i, p := range r.procs {
		if p.state == dead && r.free>>r.sys.process(i)&1 == 0 && r.first(p) {
			ms = append(ms, move{int8(i), release})
		}
	}
	for i, p := range r.procs {
		if r.undelivered(p) != nil {
			ms = append(ms, move{int8(i), notice})
		}
	}
	for i, p := range r.procs {
		if r.hasRung(p) {
			ms = append(ms, move{int8(i), rung})
		}
	}
	if len(ms) == 0 { // who asked to let others go first goes on
		for _, p := range r.procs {
			if p.state == runnable {
				ms = append(ms, move{int8(p.ID), step})
			}
		}
	}
	if len(ms) == 0 {
		for _, p := range r.procs {
			if p.state == asleep && (p.debts.owed || r.deaths > 0 && p.timeouts < r.x.opt.Timeouts || p.timeouts == 0 && r.bounded(p)) {
				ms = append(ms, move{int8(p.ID), timeout})
			}
		}
	}
	if r.deaths < r.x.opt.Deaths {
		for _, p := range r.procs {
			if (p.state == runnable || p.state == asleep) && r.x.opt.Mortal>>r.sys.process(p.ID)&1 != 0 && r.first(p) {
				ms = append(ms, move{int8(p.ID), kill})
			}
		}
	}
	return ms
}

// first reports that p is the first goroutine of its process that has not ended: it stands for all of them.
func (r *run) first(p *Proc) bool {
	for _, q := range r.procs {
		if q.process() == p.process() && q.state != ended {
			return q == p
		}
	}
	return false
}

// released reports that the kernel has released the locks of a token's owner.
func (r *run) released(token uint32) bool {
	if token == 0 {
		return true
	}
	for _, p := range r.procs {
		if p.process() == int(token)-1 {
			return r.free>>(token-1)&1 != 0
		}
	}
	return true
}

// gone reports that the owner of a token died.
func (r *run) gone(token uint32) bool {
	for _, p := range r.procs {
		if p.process() == int(token)-1 && p.state == dead {
			return true
		}
	}
	return false
}

// undelivered is the next notice that p is to get: one as long as the locks of the dead one are still there, and one
// afterwards.
func (r *run) undelivered(p *Proc) *watch {
	if p.state >= ended {
		return nil
	}
	for _, w := range r.watches {
		if w.by == p && r.gone(w.token) && !w.told && (r.released(w.token) || r.x.opt.Window && !w.early) {
			return w
		}
	}
	return nil
}

// bounded reports that p sleeps where sleeps are short by design.
func (r *run) bounded(p *Proc) bool {
	for _, off := range r.sys.Bounded {
		if p.sleeps[1] == r.bases[0]+uintptr(off) {
			return true
		}
	}
	return false
}

func (r *run) do(m move) {
	r.steps = append(r.steps, m)
	p := r.procs[m.proc]
	switch m.kind {
	case step:
		if r.last >= 0 && r.last != p.ID {
			if q := r.procs[r.last]; q.state == runnable && !q.paused {
				r.switches++
			}
		}
		r.last = p.ID
		r.unpause(p)
		r.resume(p)
	case kill:
		r.deaths++
		for _, q := range r.procs {
			if q.process() == p.process() && q.state != ended {
				q.drain()
				q.state = dead
				r.dequeue(q)
				r.unpause(q)
			}
		}
		r.watches = slices.DeleteFunc(r.watches, func(w *watch) bool { return w.by.state == dead })
		r.died(p.process())
		if !r.x.opt.Window {
			r.free |= 1 << p.process()
		}
	case release:
		r.free |= 1 << p.process()
		r.unpause(p)
	case notice:
		w := r.undelivered(p)
		w.told = r.released(w.token) || r.x.opt.Edge
		w.early = true
		w.poke()
		p.paused = false
	case flush:
		if p.flushOne(); r.x.opt.AtOnce {
			p.drain()
		}
		r.unpause(p)
	case rung:
		r.dispatch(p)
	case timeout:
		p.timeouts++
		r.clock += p.bound
		r.dequeue(p)
		p.state, p.woken = runnable, timedOut
	}
}

// unpause: p did something, so those who wait for others to go on look again.
func (r *run) unpause(p *Proc) {
	for _, q := range r.procs {
		if q != p || q.state == runnable {
			q.paused = false
		}
	}
}

func (r *run) dequeue(p *Proc) {
	r.queue = slices.DeleteFunc(r.queue, func(q *Proc) bool { return q == p })
}

func (r *run) final() error {
	var sleeping []int
	for _, p := range r.procs {
		if p.state == asleep {
			sleeping = append(sleeping, p.ID)
		}
	}
	active = nil
	if len(sleeping) > 0 {
		if r.sys.Idle == nil {
			return fmt.Errorf("asleep for ever: processes %v", sleeping)
		}
		if err := r.sys.Idle(sleeping); err != nil {
			return fmt.Errorf("asleep for ever: processes %v: %w", sleeping, err)
		}
	}
	if r.sys.Final != nil {
		return r.sys.Final()
	}
	return nil
}

func (r *run) trace() string {
	var b strings.Builder
	for i, m := range r.steps {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(m.String())
	}
	return b.String()
}

// key identifies the state.
func (r *run) key() uint64 {
	b := r.buf[:0]
	for i, s := range r.sys.Memory {
		at := len(b)
		b = append(b, s.Bytes(0, s.Len())...)
		if i == 0 {
			for _, off := range r.sys.Clock {
				clear(b[at+off : at+off+8])
			}
		}
	}
	for _, p := range r.procs {
		b = p.appendState(b)
	}
	for _, p := range r.queue {
		b = append(b, byte(p.ID))
	}
	b = r.appendBells(b)
	for _, w := range r.words {
		b = binary.LittleEndian.AppendUint64(b, w.Uint())
	}
	for _, w := range r.watches {
		told := byte(0)
		if w.early {
			told |= 1
		}
		if w.told {
			told |= 2
		}
		b = append(b, byte(w.by.ID), byte(w.token), told)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(r.clock))
	b = append(b, byte(r.deaths), byte(r.free))
	if r.x.opt.Switches > 0 {
		b = append(b, byte(r.last))
	}
	r.buf = b
	return maphash.Bytes(r.x.seed, b)
}

var errKilled = errors.New("end of the schedule")
