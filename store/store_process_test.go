package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
)

func init() {
	roles["lock and hold"] = func(d *shiplap.Domain, _ int) error {
		s, err := Open(d, "s", nil)
		if err != nil {
			return err
		}
		l, err := s.Lock(bg, "a")
		if err != nil {
			return err
		}
		peertest.Say("held")
		peertest.Hear()
		return errors.Join(l.Unlock(), s.Close())
	}
	roles["set for ever"] = func(d *shiplap.Domain, _ int) error {
		s, err := Open(d, "s", nil)
		if err != nil {
			return err
		}
		peertest.Say("setting")
		for i := 0; ; i++ {
			if _, err := s.Set(bg, strconv.Itoa(i%100), make([]byte, i%300)); err != nil {
				return err
			}
		}
	}
	roles["tell of changes"] = func(d *shiplap.Domain, _ int) error {
		s, err := Open(d, "s", nil)
		if err != nil {
			return err
		}
		events := s.Watch(bg, "a*", nil)
		peertest.Say("watching")
		for e, err := range events {
			if err != nil {
				return err
			}
			peertest.Say(e.Key, string(e.Value), e.Deleted)
			if e.Deleted {
				break
			}
		}
		return s.Close()
	}
	roles["everything"] = func(d *shiplap.Domain, seed int) error { // errors are fine, a crash is not
		s, err := Open(d, "s", nil)
		if err != nil {
			return nil
		}
		peertest.Say("begun")
		rng := rand.New(rand.NewPCG(uint64(seed), 0))
		for end := time.Now().Add(time.Duration(seed) * time.Millisecond); time.Now().Before(end); {
			ctx, cancel := context.WithTimeout(bg, 5*time.Millisecond)
			k := strconv.Itoa(rng.IntN(50))
			_, _ = s.Get(k)
			_, _ = s.Set(ctx, k, make([]byte, rng.IntN(2000)))
			_ = s.Delete(ctx, k)
			_, _ = s.Add(ctx, "n", 1)
			_, _ = s.All(ctx, "")
			_, _ = s.Stats()
			if l, err := s.TryLock(k); err == nil {
				_ = l.Unlock()
			}
			for range s.Watch(ctx, "*", &WatchOptions{Initial: true}) {
				break
			}
			if rng.IntN(20) == 0 {
				_ = s.Clear(ctx)
				_, _ = s.Reclaim(ctx)
				_ = s.Check(ctx)
			}
			cancel()
		}
		_ = s.Close()
		peertest.Say("done")
		return nil
	}
}

// TestKeyLockOfTheDead: the next one gets the lock, is told, and so is everybody until it is repaired.
func TestKeyLockOfTheDead(t *testing.T) {
	d := domain(t)
	s := create(t, d, nil)
	p := peertest.Start(t, d, "lock and hold", 0)
	p.Says("held")
	_, err := s.TryLock("a")
	is(t, err, shiplap.ErrBusy)
	waits := make(chan error, 1)
	go func() {
		l, err := s.Lock(bg, "a")
		if l != nil {
			err = errors.Join(err, l.Unlock())
		}
		waits <- err
	}()
	p.Kill()
	is(t, <-waits, shiplap.ErrOwnerDied)
	l, err := s.TryLock("a")
	is(t, err, shiplap.ErrOwnerDied)
	ok(t, l.Repaired(), l.Unlock())
	l, err = s.TryLock("a")
	ok(t, err, l.Unlock())
}

// TestStoppedWriter: whoever is stopped in a change holds up writers, until their contexts end, and no reader.
func TestStoppedWriter(t *testing.T) {
	d := domain(t)
	s := create(t, d, &Options{parts: 1})
	p := peertest.Start(t, d, "set for ever", 0)
	p.Says("setting")
	runtime.LockOSThread() // Promptly counts the time that this thread waited for a CPU
	defer runtime.UnlockOSThread()
	held, stops := 0, 0
	for begin := time.Now(); held <= 3 && time.Since(begin) < time.Minute; stops++ {
		p.Stop()
		st, err := s.Stats()
		ok(t, err)
		ok(t, killtest.Repeatedly(func() error {
			return killtest.Promptly("reading", func(ctx context.Context) error {
				for i := range 100 {
					if _, err := s.Get(strconv.Itoa(i)); err != nil && !errors.Is(err, shiplap.ErrNotExist) {
						return err
					}
				}
				_, err := s.All(ctx, "")
				return err
			})
		}))
		ctx, cancel := context.WithTimeout(bg, 3*time.Millisecond)
		_, err = s.Set(ctx, "mine", nil)
		cancel()
		if st.Writers[0].Holder != 0 {
			held++
			is(t, err, context.DeadlineExceeded)
		} else {
			ok(t, err)
		}
		p.Signal(syscall.SIGCONT)
	}
	if held <= 3 {
		t.Errorf("of %d stops, %d were with the lock", stops, held)
	}
	p.Kill()
	ok(t, killtest.Repeatedly(func() error {
		p := peertest.Start(t, d, "set for ever", 0)
		p.Says("setting")
		p.Kill()
		return killtest.Promptly("writing", func(ctx context.Context) error {
			_, err := s.Set(ctx, "mine", nil)
			return err
		})
	}), s.Check(bg))
}

func TestWatchFromAnotherProcess(t *testing.T) {
	d := domain(t)
	s := create(t, d, nil)
	p := peertest.Start(t, d, "tell of changes", 0)
	p.Says("watching")
	_, err := s.Set(bg, "b", nil)
	ok(t, err)
	_, err = s.Set(bg, "a1", []byte("x"))
	ok(t, err)
	p.Says("a1 x false")
	ok(t, s.Delete(bg, "a1"))
	p.Says("a1  true")
	ok(t, p.Wait())
}

// TestHostileNeighbour: whatever somebody writes into the store's memory while others use it, they get errors.
func TestHostileNeighbour(t *testing.T) {
	for round := range 3 {
		if round == 2 && !mem.FaultsPanic {
			t.Log("no truncation: the race detector does atomic operations in C, where a fault is fatal")
			break
		}
		d := domain2(t, round)
		s := create(t, d, &Options{MaxBytes: 256 << 10})
		for i := range 200 {
			_, err := s.Set(bg, strconv.Itoa(i), make([]byte, i))
			ok(t, err)
		}
		peers := []*peertest.Peer{peertest.Start(t, d, "everything", 700), peertest.Start(t, d, "everything", 701)}
		for _, p := range peers {
			p.Says("begun")
		}
		done := make(chan struct{})
		go func() {
			for _, p := range peers {
				p.Lines()
			}
			close(done)
		}()
		f, err := os.OpenFile(filepath.Join(d.Dir(), "s"), os.O_RDWR, 0)
		ok(t, err)
		rng := rand.New(rand.NewPCG(uint64(round), 1))
		for i := 0; ; i++ {
			select {
			case <-done:
			default:
				if round < 2 || i < 200 {
					b := make([]byte, 8)
					for k := range b[:1+rng.IntN(8)] {
						b[k] = byte(rng.Uint32() >> (8 * rng.IntN(4)))
					}
					_, err = f.WriteAt(b, int64(4096+8*rng.IntN((256<<10-4096)/8)))
				} else {
					err = f.Truncate(int64(rng.IntN(64)) * 4096)
					time.Sleep(time.Millisecond)
				}
				ok(t, err)
				continue
			}
			break
		}
		ok(t, f.Close())
		for _, p := range peers {
			if err := p.Wait(); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
			p.Says("done")
		}
	}
}

func domain2(t *testing.T, n int) *shiplap.Domain {
	d, err := shiplap.Join(shortName(t)+strconv.Itoa(n), &shiplap.Options{NoSweep: true})
	ok(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}
