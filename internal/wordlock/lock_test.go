package wordlock

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// world is who is dead, and who waits to be told.
type world struct {
	span *mem.Span
	mu   sync.Mutex
	dead map[uint32]bool
	told map[uint32][]func()
}

func newWorld() *world {
	return &world{span: mem.NewHeap(mem.Part{Len: 2 * Size}).Span(0), dead: map[uint32]bool{}, told: map[uint32][]func(){}}
}

func (w *world) kill(t uint32) {
	w.mu.Lock()
	defer w.mu.Unlock() // whoever stops watching waits for those who are being told
	w.dead[t] = true
	for _, f := range w.told[t] {
		f()
	}
}

func (w *world) open(token uint32) *Lock {
	return New(w.span, Size, owners{w, token, true}, &wait.Session{})
}

type owners struct {
	w       *world
	self    uint32
	watches bool
}

func (o owners) Self() uint32 { return o.self }

func (o owners) Dead(t uint32) bool {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	return t != o.self && o.w.dead[t]
}

func (o owners) Watch(t uint32, f func()) func() {
	if !o.watches {
		return func() {}
	}
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	o.w.told[t] = append(o.w.told[t], f)
	i := len(o.w.told[t]) - 1
	return func() {
		o.w.mu.Lock()
		defer o.w.mu.Unlock()
		o.w.told[t][i] = func() {}
	}
}

var bg = context.Background()

func eventually(t *testing.T, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

// The counter is plain memory: the race detector and the sum tell whether two were inside.
func TestMutualExclusion(t *testing.T) {
	const procs, goroutines, rounds = 3, 3, 300
	w := newWorld()
	n, inside := 0, atomic.Int32{}
	var wg sync.WaitGroup
	for i := range procs {
		l := w.open(uint32(i + 1))
		for g := range goroutines {
			wg.Go(func() {
				for k := range rounds {
					if (k+g)%4 == 0 {
						for ok := false; !ok; ok, _ = l.TryLock() {
							time.Sleep(time.Microsecond)
						}
					} else if rec, err := l.Lock(bg); err != nil || rec {
						t.Errorf("%v, %v", rec, err)
					}
					if inside.Add(1) != 1 {
						t.Error("two are inside")
					}
					if !l.Mine() || !l.Held() {
						t.Error("not mine")
					}
					n++
					inside.Add(-1)
					l.Unlock()
				}
			})
		}
	}
	wg.Wait()
	if n != procs*goroutines*rounds {
		t.Errorf("%d, want %d", n, procs*goroutines*rounds)
	}
	if st := Inspect(w.span, Size); st.Owner != 0 || len(st.Waiters) != 0 || st.Recoveries != 0 {
		t.Errorf("at the end: %+v", st)
	}
}

// Of many who wait for a dead one's lock exactly one is told.
func TestTakeOver(t *testing.T) {
	const waiters = 8
	w := newWorld()
	if ok, rec := w.open(77).TryLock(); !ok || rec {
		t.Fatal("not locked")
	}
	if ok, _ := w.open(1).TryLock(); ok {
		t.Fatal("robbed")
	}
	var recovered, got atomic.Int32
	var wg sync.WaitGroup
	for i := range waiters {
		wg.Go(func() {
			l := w.open(uint32(i + 1))
			rec, err := l.Lock(bg)
			if err != nil {
				t.Error(err)
				return
			}
			if rec {
				recovered.Add(1)
				if got.Load() != 0 {
					t.Error("another one had it before it was recovered")
				}
			}
			got.Add(1)
			l.Unlock()
		})
	}
	eventually(t, func() bool { return Inspect(w.span, Size).Sleeps == waiters })
	if st := Inspect(w.span, Size); st.Owner != 77 || !st.Contended || len(st.Waiters) != maxWaiters {
		t.Errorf("while they wait: %+v", st)
	}
	w.kill(77)
	wg.Wait()
	if recovered.Load() != 1 || got.Load() != waiters {
		t.Errorf("%d of %d recovered", recovered.Load(), got.Load())
	}
	if st := Inspect(w.span, Size); st.Recoveries != 1 || st.Owner != 0 || len(st.Waiters) != 0 {
		t.Errorf("at the end: %+v", st)
	}
}

func TestTryLockTakesOver(t *testing.T) {
	w := newWorld()
	dead := w.open(77)
	dead.TryLock()
	dead.MarkSince()
	if st := Inspect(w.span, Size); time.Since(st.Since) > time.Hour {
		t.Errorf("since %v", st.Since)
	}
	w.kill(77)
	l := w.open(1)
	if ok, rec := l.TryLock(); !ok || !rec {
		t.Fatalf("%v, %v", ok, rec)
	}
	if st := Inspect(w.span, Size); !st.Since.IsZero() || st.Recoveries != 1 {
		t.Errorf("%+v", st)
	}
	l.Unlock()
	if ok, rec := l.TryLock(); !ok || rec {
		t.Errorf("a second time: %v, %v", ok, rec)
	}
	l.UnlockLong()
}

// Where nobody tells of a death, looking finds it.
func TestTakeOverUnwatched(t *testing.T) {
	w := newWorld()
	w.open(77).TryLock()
	done := make(chan bool)
	go func() {
		l := New(w.span, Size, owners{w, 1, false}, &wait.Session{})
		rec, err := l.Lock(bg)
		done <- rec && err == nil
	}()
	eventually(t, func() bool { return Inspect(w.span, Size).Sleeps == 1 })
	w.kill(77)
	select {
	case ok := <-done:
		if !ok {
			t.Error("not recovered")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("still waiting")
	}
}

func TestCancel(t *testing.T) {
	w := newWorld()
	holder := w.open(1)
	holder.TryLock()
	why := errors.New("why")
	sess := &wait.Session{}
	for name, end := range map[string]func(context.CancelCauseFunc){
		"context": func(c context.CancelCauseFunc) { c(why) },
		"session": func(context.CancelCauseFunc) { sess.Interrupt(why) },
	} {
		ctx, cancel := context.WithCancelCause(bg)
		was := Inspect(w.span, Size).Sleeps
		done := make(chan error, 1)
		go func() {
			_, err := New(w.span, Size, owners{w, 2, true}, sess).Lock(ctx)
			done <- err
		}()
		eventually(t, func() bool { return Inspect(w.span, Size).Sleeps > was })
		end(cancel)
		select {
		case err := <-done:
			if !errors.Is(err, why) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: still waiting", name)
		}
		cancel(nil)
		if st := Inspect(w.span, Size); st.Owner != 1 || len(st.Waiters) != 0 {
			t.Errorf("%s: it left %+v", name, st)
		}
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if _, err := w.open(3).Lock(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	holder.Unlock()
}

// Entries of the dead are used again, those of the living never.
func TestWaiterEntries(t *testing.T) {
	w := newWorld()
	at := func(i int) int { return Size + offWaiters + i*waiterSize }
	for i := range maxWaiters {
		w.span.U32(at(i)).Store(uint32(100 + i))
	}
	w.kill(103)
	l := w.open(1)
	wt := &waiting{l: l}
	wt.enter()
	if wt.entry != at(3) {
		t.Errorf("entry at %d, want %d", wt.entry, at(3))
	}
	other := &waiting{l: w.open(2)}
	other.enter()
	if other.entry != 0 {
		t.Errorf("took an entry of somebody who lives, at %d", other.entry)
	}
	other.leave()
	wt.leave()
	if st := Inspect(w.span, Size); len(st.Waiters) != maxWaiters-1 {
		t.Errorf("%+v", st)
	}
}

// Hostile words are shown, not believed.
func TestInspectHostile(t *testing.T) {
	w := newWorld()
	b := w.span.Bytes(Size, Size)
	for i := range b {
		b[i] = 0xff
	}
	st := Inspect(w.span, Size)
	if st.Owner != 1<<31-1 || !st.Since.IsZero() || len(st.Waiters) != maxWaiters {
		t.Errorf("%+v", st)
	}
}

// A lock whose file was deleted while somebody slept for it is not taken: it passes on, to others who find the same.
func TestDeletedWhileWaiting(t *testing.T) {
	w := newWorld()
	holder, waiter := w.open(1), w.open(2)
	gone, slept := errors.New("gone"), atomic.Bool{}
	waiter.sess.Verify = func() error {
		if slept.Load() {
			return gone
		}
		return nil
	}
	if _, err := holder.Lock(bg); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { _, err := waiter.Lock(bg); done <- err }()
	eventually(t, func() bool { return holder.word.Load() == 1|waitersBit })
	slept.Store(true)
	holder.Unlock()
	if err := <-done; err != gone || holder.Held() {
		t.Errorf("%v; held: %v", err, holder.Held())
	}
}
