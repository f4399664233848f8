package lock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
)

// hundred is how many processes meet at one object.
func hundred() int {
	if testing.Short() || raceEnabled {
		return 12
	}
	return 100
}

// tally is what the processes keep beside a lock, in its object.
type tally struct {
	pair
	turns  *mem.U64 // how often somebody was let in
	active *mem.U32 // how many are inside
	sum    *mem.U64
}

func tallyOf(o *object.Object) tally {
	const at = object.HeaderSize + 3072 + 256
	return tally{pairOf(o), o.Ctl.U64(at), o.Ctl.U32(at + 64), o.Ctl.U64(at + 128)}
}

// crowd runs n peers at once and waits for their ends. Each says "ready", then "passed" and the numbers of turns that
// others had while it waited for each of its own.
func crowd(t *testing.T, d *shiplap.Domain, role string, n int) {
	t.Helper()
	var passed []int
	peers := make([]*peertest.Peer, n)
	for i := range peers {
		peers[i] = peertest.Start(t, d, role, i)
	}
	for _, p := range peers {
		p.Says("ready")
	}
	begin := time.Now()
	for _, p := range peers {
		p.Tell("go")
	}
	for _, p := range peers {
		for _, f := range strings.Fields(p.Reports("passed")) {
			k, err := strconv.Atoi(f)
			ok(t, err)
			passed = append(passed, k)
		}
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
	}
	slices.Sort(passed)
	at := func(q float64) int { return passed[int(q*float64(len(passed)-1))] }
	t.Logf("%d processes, %v; turns of others while one waited: median %d, 99 %% %d, 99.9 %% %d, most %d",
		n, time.Since(begin).Round(time.Millisecond), at(0.5), at(0.99), at(0.999), at(1))
}

// crowded is a peer of a crowd.
func crowded(times int, turn func(i int) (passed uint64, err error)) error {
	peertest.Say("ready")
	peertest.Hear()
	var b strings.Builder
	for i := range times {
		n, err := turn(i)
		if err != nil {
			return err
		}
		fmt.Fprint(&b, n, " ")
	}
	peertest.Say("passed", b.String())
	return nil
}

// Turns of each process.
const (
	mutexTurns     = 10_000
	rwTurns        = 2_000
	semaphoreTurns = 2_000
	barrierTurns   = 30
	condTurns      = 1_000
)

func init() {
	roles["mutex"] = func(d *shiplap.Domain, _ int) error {
		m, err := OpenMutex(d, "m")
		if err != nil {
			return err
		}
		defer m.Close()
		c, l := tallyOf(m.obj), lineOf(m.obj)
		return crowded(mutexTurns, func(int) (uint64, error) {
			before := c.turns.Load()
			err := m.Lock(bg)
			l.turn()
			passed := c.turns.Add(1) - 1 - before
			return passed, errors.Join(c.section(err), m.Unlock())
		})
	}
	roles["rwmutex"] = func(d *shiplap.Domain, arg int) error {
		m, err := OpenRWMutex(d, "rw")
		if err != nil {
			return err
		}
		defer m.Close()
		c := tallyOf(m.obj)
		return crowded(rwTurns, func(i int) (uint64, error) {
			before := c.turns.Load()
			if (arg+i)%4 == 0 {
				err := m.Lock(bg)
				passed := c.turns.Add(1) - 1 - before
				return passed, errors.Join(c.section(err), m.Unlock())
			}
			err := m.RLock(bg)
			passed := c.turns.Add(1) - 1 - before
			return passed, errors.Join(c.look(err), m.RUnlock())
		})
	}
	roles["semaphore"] = func(d *shiplap.Domain, arg int) error {
		s, err := OpenSemaphore(d, "s")
		if err != nil {
			return err
		}
		defer s.Close()
		c := tallyOf(s.obj)
		return crowded(semaphoreTurns, func(i int) (uint64, error) {
			n := 1 + (arg+i)%3
			before := c.turns.Load()
			if err := s.Acquire(bg, n); err != nil {
				return 0, err
			}
			passed := c.turns.Add(1) - 1 - before
			if all := c.active.Add(uint32(n)); all > s.max {
				return 0, fmt.Errorf("%d permits of %d", all, s.max)
			}
			c.sum.Add(uint64(n))
			c.active.Add(-uint32(n))
			return passed, s.Release(n)
		})
	}
	roles["barrier"] = func(d *shiplap.Domain, _ int) error {
		b, err := OpenBarrier(d, "b")
		if err != nil {
			return err
		}
		defer b.Close()
		c := tallyOf(b.obj)
		return crowded(barrierTurns, func(i int) (uint64, error) {
			c.turns.Add(1)
			n, err := b.Wait(bg)
			c.sum.Add(uint64(n))
			if arrived := c.turns.Load(); arrived < uint64((i+1)*b.Parties()) {
				err = errors.Join(err, fmt.Errorf("round %d went on when %d had arrived", i, arrived))
			}
			return 0, err
		})
	}
	roles["cond"] = func(d *shiplap.Domain, arg int) error {
		m, err1 := OpenMutex(d, "m")
		full, err2 := OpenCond(d, "full")
		empty, err3 := OpenCond(d, "empty")
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		defer m.Close()
		defer full.Close()
		defer empty.Close()
		c := tallyOf(m.obj)
		const room = 5
		return crowded(condTurns, func(i int) (uint64, error) {
			if err := m.Lock(bg); err != nil {
				return 0, err
			}
			var err error
			if arg%2 == 0 { // active are the items in a store with little room
				err = empty.WaitFor(bg, m, func() bool { return c.active.Load() < room })
				c.active.Store(c.active.Load() + 1)
				c.sum.Store(c.sum.Load() + uint64(i))
				err = errors.Join(err, full.Signal())
			} else {
				err = full.WaitFor(bg, m, func() bool { return c.active.Load() > 0 })
				c.active.Store(c.active.Load() - 1)
				c.turns.Store(c.turns.Load() + 1)
				err = errors.Join(err, empty.Signal())
			}
			return 0, errors.Join(err, m.Unlock())
		})
	}
}

// line is what holders of a mutex see of who stands in line, counted with the mutex in hand: how many turns in a row
// others had since he does.
type line struct{ word, who, run, most, times *mem.U32 }

func lineOf(o *object.Object) line {
	const (
		offLine = offMutex + 24
		at      = object.HeaderSize + 3072 + 256 + 192
	)
	return line{o.Ctl.U32(offLine), o.Ctl.U32(at), o.Ctl.U32(at + 4), o.Ctl.U32(at + 8), o.Ctl.U32(at + 12)}
}

func (l line) turn() {
	now := l.word.Load()
	switch {
	case now == 0:
		l.run.Store(0)
	case now != l.who.Load():
		l.run.Store(1)
		l.times.Store(l.times.Load() + 1)
	default:
		l.run.Store(l.run.Load() + 1)
	}
	l.who.Store(now)
	l.most.Store(max(l.most.Load(), l.run.Load()))
}

func TestHundredOnAMutex(t *testing.T) {
	d, n := join(t), hundred()
	m := must(CreateMutex(d, "m", nil))(t)
	defer m.Close()
	c := tallyOf(m.obj)
	crowd(t, d, "mutex", n)
	l := lineOf(m.obj)
	most, bound := int(l.most.Load()), 3*n
	t.Logf("somebody stood in line %d times; others had %d turns meanwhile at most", l.times.Load(), most)
	if most > 4*bound {
		t.Errorf("others had %d turns while one stood in line; the bound is %d", most, bound)
	}
	if a, b, turns := c.a.Load(), c.b.Load(), c.turns.Load(); a != uint64(n*mutexTurns) || b != a || turns != a {
		t.Errorf("%d, %d, %d turns; %d are wanted", a, b, turns, n*mutexTurns)
	}
	st := must(m.Stats())(t)
	if st.Holder != 0 || st.Damaged || st.Recoveries != 0 || len(st.Waiters) != 0 {
		t.Errorf("at the end: %+v", st)
	}
}

func TestHundredOnAnRWMutex(t *testing.T) {
	d, n := join(t), hundred()
	m := must(CreateRWMutex(d, "rw", nil))(t)
	defer m.Close()
	c := tallyOf(m.obj)
	crowd(t, d, "rwmutex", n)
	if a, b := c.a.Load(), c.b.Load(); a != uint64(n*rwTurns/4) || b != a || c.turns.Load() != uint64(n*rwTurns) {
		t.Errorf("%d, %d, %d turns; %d and %d are wanted", a, b, c.turns.Load(), n*rwTurns/4, n*rwTurns)
	}
	st := must(m.Stats())(t)
	if st.Holder != 0 || st.Damaged || st.Writing || len(st.Readers) != 0 {
		t.Errorf("at the end: %+v", st)
	}
}

func TestHundredOnASemaphore(t *testing.T) {
	d, n := join(t), hundred()
	s := must(CreateSemaphore(d, "s", 4, nil))(t)
	defer s.Close()
	c := tallyOf(s.obj)
	crowd(t, d, "semaphore", n)
	want := 0
	for i := range n {
		for k := range semaphoreTurns {
			want += 1 + (i+k)%3
		}
	}
	if c.sum.Load() != uint64(want) || c.active.Load() != 0 || c.turns.Load() != uint64(n*semaphoreTurns) {
		t.Errorf("%d permits in all, %d turns; %d and %d are wanted", c.sum.Load(), c.turns.Load(), want, n*semaphoreTurns)
	}
	st := must(s.Stats())(t)
	if st.Available != 4 || len(st.Holders) != 0 || st.Queue.Holder != 0 {
		t.Errorf("at the end: %+v", st)
	}
}

func TestHundredAtABarrier(t *testing.T) {
	d, n := join(t), hundred()
	b := must(CreateBarrier(d, "b", n, nil))(t)
	defer b.Close()
	c := tallyOf(b.obj)
	crowd(t, d, "barrier", n)
	if c.turns.Load() != uint64(n*barrierTurns) || c.sum.Load() != uint64(barrierTurns*n*(n-1)/2) {
		t.Errorf("%d arrivals, numbers that add up to %d; %d and %d are wanted", c.turns.Load(), c.sum.Load(), n*barrierTurns, barrierTurns*n*(n-1)/2)
	}
	st := must(b.Stats())(t)
	if st.Waiting != 0 || st.Broken || len(st.Holders) != 0 || st.Round != barrierTurns {
		t.Errorf("at the end: %+v", st)
	}
}

func TestHundredOnACondition(t *testing.T) {
	d, n := join(t), hundred()
	m := must(CreateMutex(d, "m", nil))(t)
	defer m.Close()
	for _, name := range []string{"full", "empty"} {
		c := must(CreateCond(d, name, nil))(t)
		defer c.Close()
	}
	c := tallyOf(m.obj)
	crowd(t, d, "cond", n)
	if want := uint64(n / 2 * condTurns); c.turns.Load() != want || c.active.Load() != 0 || c.sum.Load() != want*(condTurns-1)/2 {
		t.Errorf("%d taken, sum %d, %d left; %d and %d are wanted", c.turns.Load(), c.sum.Load(), c.active.Load(), want, want*(condTurns-1)/2)
	}
}

// chaos keeps peers of a role at work for a while, in which some of them are killed again and again, and then lets
// those who live finish.
func chaos(t *testing.T, d *shiplap.Domain, role string, n int) (killed int) {
	t.Helper()
	spell := 4 * time.Second
	if testing.Short() {
		spell = time.Second
	}
	peers := make([]*peertest.Peer, n)
	serial := 0
	hire := func(i int) {
		peers[i] = peertest.Start(t, d, role, serial%counts)
		serial++
	}
	for i := range peers {
		hire(i)
	}
	for end := time.Now().Add(spell); time.Now().Before(end); killed++ {
		time.Sleep(time.Duration(2+rand.IntN(30)) * time.Millisecond)
		i := rand.IntN(n)
		peers[i].Kill()
		hire(i)
	}
	for _, p := range peers {
		p.CloseStdin()
	}
	for _, p := range peers {
		stuck := time.AfterFunc(20*time.Second, func() { t.Error("a process does not end"); p.Signal(syscall.SIGKILL) })
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
		stuck.Stop()
	}
	return killed
}

// counts is how many words there are for processes to say how much they did, after they did it.
const counts = 64

func countOf(o *object.Object, arg int) *mem.U64 { return o.Ctl.U64(object.HeaderSize + 2048 + 8*arg) }

func counted(o *object.Object) (sum uint64) {
	for i := range counts {
		sum += countOf(o, i).Load()
	}
	return sum
}

// untilEOF repeats f until stdin ends.
func untilEOF(f func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(bg)
	go func() {
		<-peertest.StdinEnds()
		cancel()
	}()
	for ctx.Err() == nil {
		if err := f(ctx); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return nil
}

func init() {
	roles["mutex for ever"] = func(d *shiplap.Domain, arg int) error {
		m, err := OpenMutex(d, "m")
		if err != nil {
			return err
		}
		defer m.Close()
		w := &world{pair: pairOf(m.obj)}
		return untilEOF(func(ctx context.Context) error {
			err := m.Lock(ctx)
			if err == nil || errors.Is(err, shiplap.ErrOwnerDied) {
				err = w.holding(m, err)
				countOf(m.obj, arg).Add(1)
			}
			return err
		})
	}
	roles["rwmutex for ever"] = func(d *shiplap.Domain, arg int) error {
		m, err := OpenRWMutex(d, "rw")
		if err != nil {
			return err
		}
		defer m.Close()
		w := &world{pair: pairOf(m.obj), rw: m}
		return untilEOF(func(ctx context.Context) error {
			if rand.IntN(4) > 0 {
				err := m.RLock(ctx)
				if err == nil || errors.Is(err, shiplap.ErrOwnerDied) {
					if a, b := w.a.Load(), w.b.Load(); a != b && err == nil {
						return fmt.Errorf("reading, not told of a death, and the words are %d and %d", a, b)
					}
					err = m.RUnlock()
				}
				return err
			}
			err := m.Lock(ctx)
			if err == nil || errors.Is(err, shiplap.ErrOwnerDied) {
				err = w.writes(err)
				countOf(m.obj, arg).Add(1)
			}
			return err
		})
	}
	roles["semaphore for ever"] = func(d *shiplap.Domain, arg int) error {
		s, err := OpenSemaphore(d, "s")
		if err != nil {
			return err
		}
		defer s.Close()
		return untilEOF(func(ctx context.Context) error {
			n := 1 + rand.IntN(4)
			if err := s.Acquire(ctx, n); err != nil {
				return err
			}
			countOf(s.obj, arg).Add(1)
			if rand.IntN(100) == 0 {
				time.Sleep(time.Millisecond)
			}
			return s.Release(n)
		})
	}
	roles["barrier for ever"] = func(d *shiplap.Domain, arg int) error {
		b, err := OpenBarrier(d, "b")
		if err != nil {
			return err
		}
		defer b.Close()
		return untilEOF(func(ctx context.Context) error {
			_, err := b.Wait(ctx)
			if err == nil {
				countOf(b.obj, arg).Add(1)
			}
			for errors.Is(err, ErrBroken) { // one resets it: many would break each other's rounds
				time.Sleep(time.Millisecond)
				if st, e := b.Stats(); e != nil || !st.Broken || ctx.Err() != nil {
					err = e
				}
			}
			return err
		})
	}
}

func TestKillsOnAMutex(t *testing.T) {
	d := join(t)
	m := must(CreateMutex(d, "m", nil))(t)
	defer m.Close()
	killed := chaos(t, d, "mutex for ever", 12)
	w := &world{pair: pairOf(m.obj), m: m}
	ok(t, w.holding(m, m.Lock(bg)))
	did := counted(m.obj) + 1
	a, b := w.a.Load(), w.b.Load()
	t.Logf("%d turns, %d killed, %d times taken over from the dead", did, killed, must(m.Stats())(t).Recoveries)
	if a != b || a < did || a > did+uint64(killed) {
		t.Errorf("the words are %d and %d; processes said %d, %d were killed", a, b, did, killed)
	}
}

func TestKillsOnAnRWMutex(t *testing.T) {
	d := join(t)
	m := must(CreateRWMutex(d, "rw", nil))(t)
	defer m.Close()
	killed := chaos(t, d, "rwmutex for ever", 12)
	w := &world{pair: pairOf(m.obj), rw: m}
	ok(t, w.writes(m.Lock(bg)))
	did := counted(m.obj) + 1
	a, b := w.a.Load(), w.b.Load()
	st := must(m.Stats())(t)
	t.Logf("%d writes, %d killed, %d times taken over from the dead", did, killed, st.Recoveries)
	if a != b || a < did || a > did+uint64(killed) || len(st.Readers) != 0 {
		t.Errorf("the words are %d and %d; processes said %d, %d were killed; %+v", a, b, did, killed, st)
	}
}

func TestKillsOnASemaphore(t *testing.T) {
	d := join(t)
	s := must(CreateSemaphore(d, "s", 5, nil))(t)
	defer s.Close()
	killed := chaos(t, d, "semaphore for ever", 12)
	ctx, cancel := context.WithTimeout(bg, 10*time.Second)
	defer cancel()
	ok(t, s.Acquire(ctx, 5))
	is(t, s.TryAcquire(1), shiplap.ErrBusy)
	ok(t, s.Release(5))
	st := must(s.Stats())(t)
	t.Logf("%d turns, %d killed", counted(s.obj), killed)
	if st.Available != 5 || len(st.Holders) != 0 {
		t.Errorf("at the end: %+v", st)
	}
}

func TestKillsAtABarrier(t *testing.T) {
	d := join(t)
	b := must(CreateBarrier(d, "b", 6, nil))(t)
	defer b.Close()
	ctx, cancel := context.WithCancel(bg)
	resets := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
			if must(b.Stats())(t).Broken {
				ok(t, b.Reset(bg))
				n++
			}
		}
		resets <- n
	}()
	killed := chaos(t, d, "barrier for ever", 6)
	cancel()
	n := <-resets
	ok(t, b.Reset(bg))
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if _, err := b.Wait(bg); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	t.Logf("%d met, %d resets, %d killed", counted(b.obj), n, killed)
	if counted(b.obj) == 0 {
		t.Error("nobody ever met")
	}
}

// TestTakeOver measures how long it takes until the lock of a killed process is somebody else's.
func TestTakeOver(t *testing.T) {
	roles := 200
	if testing.Short() {
		roles = 10
	}
	d := join(t)
	m := must(CreateMutex(d, "m", nil))(t)
	defer m.Close()
	var spent, dying []time.Duration // dying is until the kernel has closed its files
	for range roles {
		p := peertest.Start(t, d, "hold", 0)
		p.Says("holding")
		done := make(chan error)
		go func() { done <- m.Lock(bg) }()
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) // somewhere in its growing sleeps
		begin := time.Now()
		p.Signal(syscall.SIGKILL)
		ended := make(chan time.Duration)
		go func() { p.Lines(); ended <- time.Since(begin) }()
		is(t, <-done, shiplap.ErrOwnerDied)
		spent = append(spent, time.Since(begin))
		dying = append(dying, <-ended)
		ok(t, m.Repaired(), m.Unlock())
		_ = p.Wait()
	}
	slices.Sort(spent)
	slices.Sort(dying)
	for what, s := range map[string][]time.Duration{"taken over": spent, "dead": dying} {
		t.Logf("%s %d times after: median %v, 90 %% %v, 99 %% %v, worst %v", what, len(s), s[len(s)/2], s[len(s)*9/10], s[len(s)*99/100], s[len(s)-1])
	}
}

// TestStoppedHolder: nobody gets what a stopped process holds.
func TestStoppedHolder(t *testing.T) {
	d := join(t)
	m := must(CreateMutex(d, "m", nil))(t)
	defer m.Close()
	p := peertest.Start(t, d, "hold", 0)
	p.Says("holding")
	p.Stop()
	ctx, cancel := context.WithTimeout(bg, time.Second)
	defer cancel()
	is(t, m.Lock(ctx), context.DeadlineExceeded)
	is(t, m.TryLock(), shiplap.ErrBusy)
	p.Signal(syscall.SIGCONT)
	done := make(chan error)
	go func() { done <- m.Lock(bg) }()
	p.CloseStdin()
	if err := <-done; err != nil { // it ends without giving the mutex back
		is(t, err, shiplap.ErrOwnerDied)
	}
	ok(t, m.Repaired(), m.Unlock())
}

func init() {
	roles["hold"] = func(d *shiplap.Domain, _ int) error {
		m, err := OpenMutex(d, "m")
		if err == nil {
			err = m.Lock(bg)
		}
		if err == nil {
			peertest.Say("holding")
			peertest.Hear()
		}
		return err
	}
}
