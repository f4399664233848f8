package wordlock_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/member"
	"github.com/shiplap-ipc/shiplap/internal/segment"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Not in TestMain, which other tests of this package may want: init too runs on the main goroutine.
func init() { killtest.RunVictim(scenarios()...) }

// party is a process with the lock, and two words that are equal whenever nobody holds it.
type party struct {
	dir    *segment.Dir
	table  *member.Table
	file   *segment.File
	region *mem.Region
	sess   wait.Session
	lock   *wordlock.Lock
	word   *mem.U32
	a, b   *mem.U64
}

const (
	fileName  = "lock"
	waiting   = 1 << 31
	deadToken = 77<<10 | 900 // of a slot that never had this generation
)

func arrive(base string, first bool) (p *party, err error) {
	p = &party{}
	if p.dir, err = segment.OpenDir(base, "d", true); err != nil {
		return nil, err
	}
	if p.table, err = member.Join(p.dir); err != nil {
		return nil, err
	}
	if first {
		if p.file, err = p.dir.Create("made", 4096); err == nil {
			err = p.file.Publish(fileName)
		}
	} else {
		p.file, err = p.dir.Open(fileName)
	}
	if err != nil {
		return nil, err
	}
	if p.region, err = mem.Map(p.file.Fd(), mem.Part{Len: 4096}); err != nil {
		return nil, err
	}
	s := p.region.Span(0)
	p.lock, p.word = wordlock.New(s, 0, p.table, &p.sess), s.U32(0)
	p.a, p.b = s.U64(256), s.U64(384)
	return p, nil
}

func (p *party) Close() error {
	p.region.Unmap()
	return errors.Join(p.file.Close(), p.table.Leave(), p.dir.Close())
}

// section changes both words, with the lock held. Who recovered repairs first.
func (p *party) section(recovered bool) error {
	if a, b := p.a.Load(), p.b.Load(); a != b {
		if !recovered {
			return fmt.Errorf("inside, not told of a death, and the words are %d and %d", a, b)
		}
		p.b.Store(a)
	}
	p.a.Store(p.a.Load() + 1)
	p.b.Store(p.b.Load() + 1)
	return nil
}

func (p *party) locked() error {
	recovered, err := p.lock.Lock(context.Background())
	if err != nil {
		return err
	}
	if err := p.section(recovered); err != nil {
		return err
	}
	p.lock.Unlock()
	return nil
}

func (p *party) tryLocked() error {
	ok, recovered := p.lock.TryLock()
	if !ok {
		return errors.New("the lock is not to be had")
	}
	if err := p.section(recovered); err != nil {
		return err
	}
	p.lock.Unlock()
	return nil
}

// survivor knows how often the section was entered by the living.
type survivor struct {
	*party
	sections uint64
}

func setup(word uint32) func(t *killtest.Trial) (any, error) {
	return func(t *killtest.Trial) (any, error) {
		p, err := arrive(t.Dir, true)
		if err != nil {
			return nil, err
		}
		p.word.Store(word)
		return &survivor{party: p}, nil
	}
}

func prepare(op func(p *party) (func() error, error)) func(v *killtest.Victim) (func() error, error) {
	return func(v *killtest.Victim) (func() error, error) {
		p, err := arrive(v.Dir, false)
		if err != nil {
			return nil, err
		}
		return op(p)
	}
}

func whole(f func(p *party) error) func(v *killtest.Victim) (func() error, error) {
	return prepare(func(p *party) (func() error, error) { return func() error { return f(p) }, nil })
}

// unlock is Unlock of a lock that was taken before.
func unlock(contended bool) func(v *killtest.Victim) (func() error, error) {
	return prepare(func(p *party) (func() error, error) {
		recovered, err := p.lock.Lock(context.Background())
		if err == nil {
			err = p.section(recovered)
		}
		if contended {
			p.word.Or(waiting)
		}
		return func() error { p.lock.Unlock(); return nil }, err
	})
}

// while: a living owner is not robbed, and who is not the owner holds nobody up.
func while(_ *killtest.Trial, state any) error {
	s := state.(*survivor)
	v := s.word.Load() &^ waiting
	theirs := v != 0 && v != deadToken
	ok, recovered := s.lock.TryLock()
	if theirs {
		if ok {
			return fmt.Errorf("the living owner %#x was robbed (%v)", v, recovered)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Millisecond)
		defer cancel()
		if _, err := s.lock.Lock(ctx); err != context.DeadlineExceeded {
			return fmt.Errorf("waiting for a lock that is held: %v", err)
		}
		if now := s.word.Load() &^ waiting; now != v {
			return fmt.Errorf("the owner was %#x, and is %#x", v, now)
		}
		return nil
	}
	if !ok {
		return fmt.Errorf("the word was %#x, and the lock is not to be had", v)
	}
	if err := s.section(recovered); err != nil {
		return err
	}
	s.sections++
	s.lock.Unlock()
	return nil
}

// check takes the lock at once, knows of a death in the section, and finds what completed.
func check(victims int) func(t *killtest.Trial, state any) error {
	return func(t *killtest.Trial, state any) error {
		s := state.(*survivor)
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		recovered, err := s.lock.Lock(ctx)
		if err != nil {
			return fmt.Errorf("after %v: %w", time.Since(start), err)
		}
		if err := s.section(recovered); err != nil {
			return err
		}
		s.lock.Unlock()
		s.sections++
		least, most := s.sections, s.sections+uint64(victims)
		if t.Done || t.Mode == killtest.Pause {
			least++
		}
		if t.Mode == killtest.Recover {
			most++
			if t.RecoverDone {
				least++
			}
		}
		if n := s.a.Load(); n < least || n > most {
			return fmt.Errorf("%d times in the section; %d to %d are possible", n, least, most)
		}
		if v := s.word.Load(); v != 0 {
			return fmt.Errorf("unlocked, and the word is %#x", v)
		}
		if ok, recovered := s.lock.TryLock(); !ok || recovered {
			return fmt.Errorf("a free lock: %v, recovered %v", ok, recovered)
		}
		s.lock.Unlock()
		return nil
	}
}

func scenarios() []killtest.Scenario {
	lock, try := whole((*party).locked), whole((*party).tryLocked)
	again := func(p func(v *killtest.Victim) (func() error, error)) *killtest.Recovery {
		return &killtest.Recovery{Prepare: p}
	}
	const held = waiting | deadToken
	return []killtest.Scenario{
		{Name: "wordlock/Lock", Covers: []string{"wordlock.Lock.Lock"}, Setup: setup(0), Prepare: lock, Check: check(1), While: while, Recover: again(lock)},
		{Name: "wordlock/Lock after a death", Setup: setup(deadToken), Prepare: lock, Check: check(1), While: while, Recover: again(lock)},
		{Name: "wordlock/Lock after a death, waiters", Setup: setup(held), Prepare: lock, Check: check(1), While: while},
		{Name: "wordlock/TryLock", Covers: []string{"wordlock.Lock.TryLock"}, Setup: setup(0), Prepare: try, Check: check(1), While: while, Recover: again(try)},
		{Name: "wordlock/TryLock after a death", Setup: setup(held), Prepare: try, Check: check(1), While: while, Recover: again(try)},
		{Name: "wordlock/Unlock", Covers: []string{"wordlock.Lock.Unlock"}, Setup: setup(0), Prepare: unlock(false), Check: check(1), While: while, Recover: again(try)},
		{Name: "wordlock/Unlock, waiters", Setup: setup(0), Prepare: unlock(true), Check: check(1), While: while, Recover: again(try)},
		{Name: "wordlock/UnlockLong", Covers: []string{"wordlock.Lock.UnlockLong", "wordlock.Lock.MarkSince"}, Setup: setup(0), Check: check(1), While: while,
			Prepare: whole(func(p *party) error {
				recovered, err := p.lock.Lock(context.Background())
				if err != nil {
					return err
				}
				p.lock.MarkSince()
				err = p.section(recovered)
				p.lock.UnlockLong()
				return err
			})},
	}
}

func TestKilledAnywhere(t *testing.T) {
	killtest.RunKills(t, func(_ killtest.Scenario, opt *killtest.Options) (skip string) {
		opt.Kill, opt.Pause, opt.Recover = true, true, true
		return ""
	}, scenarios()...)
}
