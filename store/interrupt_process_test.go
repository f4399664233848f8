package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/internal/table"
)

func init() {
	roles["set with deadlines"] = func(d *shiplap.Domain, ms int) error {
		s, err := Open(d, "s", nil)
		if err != nil {
			return err
		}
		peertest.Say("setting")
		end := time.Now().Add(time.Duration(ms) * time.Millisecond)
		var wg sync.WaitGroup
		errs := make(chan error, 4)
		for range cap(errs) {
			wg.Go(func() {
				for time.Now().Before(end) {
					ctx, cancel := context.WithTimeout(bg, time.Duration(rand.Int64N(300_000)))
					key := fmt.Sprint("key", rand.IntN(500))
					var opts []SetOption
					if rand.IntN(2) == 0 {
						opts = []SetOption{TTL(time.Duration(rand.Int64N(3_000_000)))}
					}
					_, err := s.Set(ctx, key, make([]byte, rand.IntN(6000)), opts...)
					if rand.IntN(5) == 0 {
						err = s.Delete(ctx, key)
					}
					cancel()
					over := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, shiplap.ErrNotExist)
					if err != nil && !over {
						errs <- err
						return
					}
				}
			})
		}
		wg.Wait()
		close(errs)
		return errors.Join(<-errs, s.Close())
	}
}

// TestDeadlines: processes whose contexts end in the middle of their changes lose no memory.
func TestDeadlines(t *testing.T) {
	d := domain(t)
	s := create(t, d, &Options{MaxBytes: 16 << 20, Keys: 64})
	ms := 4000
	if testing.Short() {
		ms = 1000
	}
	var peers []*peertest.Peer
	for range 3 {
		peers = append(peers, peertest.Start(t, d, "set with deadlines", ms))
	}
	for _, p := range peers {
		ok(t, p.Wait())
	}
	ok(t, s.Check(bg), s.Clear(bg))
	_, err := s.Reclaim(bg)
	ok(t, err, s.Check(bg))
	if st, err := s.Stats(); err != nil || st.Used != 0 {
		t.Errorf("%d bytes are in use after everything was cleared, %v", st.Used, err)
	}
}

// TestWatchBesideTheDead: writers died in some stripes, and the heap's lock is held by somebody who
// is stopped. A watcher ends with its context, and one that goes on is told of what others change.
func TestWatchBesideTheDead(t *testing.T) {
	d := domain(t)
	s := create(t, d, nil)
	var keys, working []string
	for i := range 200 {
		keys = append(keys, fmt.Sprint("key", i))
		for range 2 { // so that a spare block is there
			_, err := s.Set(bg, keys[i], nil)
			ok(t, err)
		}
		if (&world{st: s}).stripe(keys[i])%2 == 1 {
			working = append(working, keys[i])
		}
	}
	ctl := s.obj.Ctl
	ctl.U32(table.HeapLock).Store(s.obj.Space.Table.Self())
	for i := 0; i < table.MaxStripes; i += 2 {
		ctl.U32(table.WriterLock(i)).Store(deadToken)
	}
	ends := make(chan error)
	for range 3 { // more than one: none may keep a stripe
		ctx, cancel := context.WithCancel(bg)
		events := s.Watch(ctx, "none", nil)
		go func() {
			for _, err := range events {
				ends <- err
			}
		}()
		for slept := asleep(t, s); asleep(t, s) < slept+2; {
			time.Sleep(time.Millisecond)
		}
		cancel()
		select {
		case err := <-ends:
			is(t, err, context.Canceled)
		case <-time.After(10 * time.Second):
			t.Fatal("a Watch does not end with its context")
		}
	}
	events := s.Watch(bg, "key*", nil)
	for _, key := range working {
		ctx, cancel := context.WithTimeout(bg, 10*time.Second)
		_, err := s.Set(ctx, key, []byte("new"))
		ok(t, err)
		for e, err := range events {
			ok(t, err)
			if e.Key == key {
				break
			}
		}
		cancel()
	}
	ctl.U32(table.HeapLock).Store(0)
	ok(t, s.Check(bg))
}

// asleep is how often a watcher has fallen asleep.
func asleep(t *testing.T, s *Store) uint64 {
	st, err := s.Stats()
	ok(t, err)
	return st.Sleeps
}

// TestWatcherRests: a watcher that others wake for nothing, all the time, is not woken thousands of
// times a second for that, and is told all the same.
func TestWatcherRests(t *testing.T) {
	s := create(t, domain(t), nil)
	for _, pattern := range []string{"mine", "mine*"} {
		events := s.Watch(bg, pattern, nil)
		told := make(chan string)
		go func() {
			for e, err := range events {
				if err != nil {
					told <- err.Error()
					return
				}
				told <- string(e.Value)
				if e.Deleted {
					return
				}
			}
		}()
		for slept := asleep(t, s); asleep(t, s) == slept; {
			time.Sleep(time.Millisecond)
		}
		before, begin := asleep(t, s), time.Now()
		for time.Since(begin) < 300*time.Millisecond {
			_, err := s.Set(bg, "other", nil)
			ok(t, err)
		}
		slept, took := asleep(t, s)-before, time.Since(begin)
		if most := uint64(took/restMost) + 20; slept > most {
			t.Errorf("%s: it fell asleep %d times in %v, %d at most should be", pattern, slept, took, most)
		}
		_, err := s.Set(bg, "mine", []byte("x"))
		ok(t, err)
		if v := <-told; v != "x" {
			t.Errorf("%s: told %q", pattern, v)
		}
		ok(t, s.Delete(bg, "mine"))
		<-told
	}
}

// TestFaultInTheHeap: a row of the heap that was cut short by a fault is finished before anybody
// takes a block in its place.
func TestFaultInTheHeap(t *testing.T) {
	if !mem.FaultsPanic {
		t.Skip("the race detector does atomic operations in C, where a fault is fatal")
	}
	d := domain(t)
	s := create(t, d, &Options{MaxBytes: 1 << 20, Reserve: 1 << 20, Keys: 8, parts: 1})
	set := func(key string, n int) error {
		_, err := s.Set(bg, key, make([]byte, n))
		return err
	}
	ok(t, set("large", 3000))
	top := func() int64 {
		st, err := s.t.Stats()
		ok(t, err)
		return st.Top
	}
	for top()%4096 != 0 { // one granule at a time
		ok(t, set(fmt.Sprint("small", top()), 1))
	}
	file := filepath.Join(d.Dir(), "s")
	size := s.obj.Size
	ok(t, os.Truncate(file, top()))
	if err := set("new", 5000); err == nil {
		t.Fatal("no fault")
	}
	ok(t, os.Truncate(file, size)) // as if it had been a fault of the moment
	ok(t, s.Delete(bg, "large"))
	ok(t, set("new", 2000), s.Check(bg), s.Clear(bg))
	_, err := s.Reclaim(bg)
	ok(t, err, s.Check(bg))
	if st, err := s.Stats(); err != nil || st.Used != 0 {
		t.Errorf("%d bytes are in use after everything was cleared, %v", st.Used, err)
	}
}
