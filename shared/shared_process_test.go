package shared_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/shared"
)

// roundOf is how long the random rounds last.
func roundOf() time.Duration {
	if testing.Short() {
		return 300 * time.Millisecond
	}
	return time.Second
}

func TestTwoProcesses(t *testing.T) {
	d := domain(t)
	a := array[float64](t, d, "a", nil, 50, 2)
	for i := range 50 {
		ok(t, a.Set(float64(i), i, 1))
	}
	peertest.Start(t, d, "change", 50).Ends()
	for i := range 50 {
		if x, err := a.At(i, 1); err != nil || x != float64(2*i) {
			t.Error(x, err)
		}
	}
}

// hunt keeps peers of a role at work and kills one after the other, while check looks on.
func hunt(t *testing.T, d *shiplap.Domain, role string, n int, check func()) (killed int) {
	t.Helper()
	return huntUntil(t, d, role, n, check, func(int) bool { return true })
}

// huntUntil is a hunt that does not end before enough, which gets to know how many were killed, has seen what it is
// about.
func huntUntil(t *testing.T, d *shiplap.Domain, role string, n int, check func(), enough func(int) bool) (killed int) {
	t.Helper()
	peers := make([]*peertest.Peer, n)
	for i := range peers {
		peers[i] = peertest.Start(t, d, role, i)
		peers[i].Says("going")
	}
	begin := time.Now()
	for end := begin.Add(roundOf()); time.Now().Before(end) || !enough(killed); killed++ {
		if time.Since(begin) > time.Minute {
			t.Errorf("%d were killed in a minute, and it was not seen what has to be", killed)
			break
		}
		for next := time.Now().Add(time.Duration(rand.IntN(20)) * time.Millisecond); time.Now().Before(next); {
			check()
		}
		i := rand.IntN(n)
		peers[i].Kill()
		peers[i] = peertest.Start(t, d, role, i)
		peers[i].Says("going")
	}
	for _, p := range peers {
		p.Ends()
	}
	check()
	return killed
}

// Sums are exact, but for what the killed had added and not yet tallied.
func TestAddUnderKills(t *testing.T) {
	d := domain(t)
	word, float, blocks := value(t, d, "word", int64(0)), value(t, d, "float", 0.0), value(t, d, "block", blockOf(0))
	tally := array[int64](t, d, "tally", nil, 4, 3)
	killed := hunt(t, d, "add", 4, func() {
		if b, err := blocks.Load(); err != nil || b != blockOf(b.n()) {
			t.Error(b, err)
		}
	})
	var sums [3]int64
	for i := range 4 {
		for k := range sums {
			n, err := tally.At(i, k)
			ok(t, err)
			sums[k] += n
		}
	}
	w, e1 := word.Load()
	f, e2 := float.Load()
	b, e3 := blocks.Load()
	ok(t, errors.Join(e1, e2, e3))
	more := 0
	for k, n := range []int64{w, int64(f), int64(b.n())} {
		diff := n - sums[k]
		if diff < 0 || diff > int64(killed) {
			t.Errorf("counter %d is %d, %d were tallied, %d killed", k, n, sums[k], killed)
		}
		more += int(diff)
	}
	t.Logf("%d, %d, %d additions, %d killed, of whom %d had not tallied", w, int64(f), b.n(), killed, more)
	if more > killed {
		t.Errorf("%d killed left %d things untold", killed, more)
	}
}

func TestTornValues(t *testing.T) {
	d := domain(t)
	v := value(t, d, "large", [1000]int{})
	loads, busy := 0, 0
	killed := hunt(t, d, "write", 3, func() {
		x, err := v.Load()
		if errors.Is(err, shiplap.ErrBusy) {
			busy++
			return
		}
		ok(t, err)
		if _, err := same(x[:]); err != nil {
			t.Fatal(err)
		}
		loads++
	})
	s, err := v.Stats()
	ok(t, err)
	t.Logf("%d loads whole, %d given up, %d killed, %d versions, writer lock taken over %d times", loads, busy, killed, s.Version, s.Writer.Recoveries)
	if busy > 0 {
		t.Errorf("%d loads were overtaken for a second", busy)
	}
}

func TestTornFrames(t *testing.T) {
	for _, frames := range []int{2, 4} {
		d := domain(t)
		a := array[int](t, d, "frames", &shared.ArrayOptions{Frames: frames}, 2000)
		dst := make([]int, 2000)
		whole, conflicts, last := 0, 0, uint64(0)
		killed := hunt(t, d, "publish", 2, func() {
			v, err := a.Latest(dst)
			if errors.Is(err, shiplap.ErrEmpty) {
				return
			}
			ok(t, err)
			if _, err := same(dst); err != nil {
				t.Fatal(err)
			}
			if v < last {
				t.Errorf("version %d after %d", v, last)
			}
			last = v
			var torn error
			err = a.View(func(f []int, _ uint64) error {
				_, torn = same(f)
				return nil
			})
			if errors.Is(err, shiplap.ErrConflict) {
				conflicts++
				return
			}
			ok(t, err)
			if torn != nil {
				t.Fatal(torn)
			}
			whole++
		})
		t.Logf("%d frames: %d looked at whole, %d conflicts, %d killed, %d versions", frames, whole, conflicts, killed, last)
	}
}

// An array replaced under its lock is whole, or said to be damaged; Replace repairs it.
func TestTornReplace(t *testing.T) {
	if raceEnabled {
		t.Skip("slowed down by the race detector, hardly any victim is killed inside of the copy")
	}
	d := domain(t)
	a := array[int](t, d, "plain", nil, 5000)
	dst := make([]int, 5000)
	whole, damaged := 0, 0
	killed := huntUntil(t, d, "replace", 2, func() {
		err := a.Snapshot(bg, dst)
		if errors.Is(err, shiplap.ErrOwnerDied) {
			damaged++
			return // the next to replace repairs it
		}
		ok(t, err)
		if _, err := same(dst); err != nil {
			t.Fatal(err)
		}
		whole++
	}, func(killed int) bool { return killed >= 3 && whole >= 10 && damaged > 0 })
	t.Logf("%d whole, %d damaged, %d killed", whole, damaged, killed)
}

// A stopped writer holds up writers and nobody else; a dead one nobody.
func TestStopped(t *testing.T) {
	d := domain(t)
	v := value(t, d, "block", blockOf(1))
	a := array[int](t, d, "frames", &shared.ArrayOptions{Frames: 2}, 100)
	ok(t, second(a.Publish(bg, filled(1))))
	dst := make([]int, 100)
	for _, tt := range []struct {
		role  string
		read  func() (int, error)
		write func(context.Context, int) error
	}{
		{"stopped writer", func() (int, error) { b, err := v.Load(); return b.n(), err },
			func(ctx context.Context, n int) error { return v.Store(ctx, blockOf(n)) }},
		{"stopped publisher", func() (int, error) {
			_, err := a.Latest(dst)
			if err != nil {
				return 0, err
			}
			return same(dst)
		}, func(ctx context.Context, n int) error { return second(a.Publish(ctx, filled(n))) }},
	} {
		t.Run(tt.role, func(t *testing.T) {
			reads := func(want int) {
				t.Helper()
				if n, err := tt.read(); err != nil || n != want {
					t.Errorf("it is %d, %v; %d is wanted", n, err, want)
				}
			}
			p := peertest.Start(t, d, tt.role, 0)
			p.Says("inside")
			p.Stop()
			for range 100 {
				reads(1)
			}
			ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
			defer cancel()
			is(t, "write beside a stopped writer", tt.write(ctx, 9), context.DeadlineExceeded)
			reads(1)
			p.Signal(syscall.SIGCONT)
			p.Ends()
			reads(2)

			want := 2
			ok(t, killtest.Repeatedly(func() error { // a busy machine may be late once
				p := peertest.Start(t, d, tt.role, 0)
				p.Says("inside")
				p.Kill()
				reads(want)
				err := killtest.Promptly("write after a death", func(ctx context.Context) error { return tt.write(ctx, 3) })
				want = 3
				reads(want)
				return err
			}))
		})
	}
}

func TestLockOfTheDead(t *testing.T) {
	d := domain(t)
	v := value(t, d, "v", int64(1))
	p := peertest.Start(t, d, "hold", 0)
	p.Says("holding")
	is(t, "held", v.TryLock(), shiplap.ErrBusy)
	ok(t, second(shared.Add(v, 1))) // the lock is for those who take it
	waits := make(chan error)
	go func() { waits <- v.Lock(soon(t)) }()
	p.Kill()
	is(t, "after its holder died", <-waits, shiplap.ErrOwnerDied)
	if s, err := v.Stats(); err != nil || !s.Lock.Damaged || s.Lock.Recoveries != 1 {
		t.Errorf("%+v %v", s, err)
	}
	ok(t, v.Unlock())
	is(t, "not yet repaired", v.TryLock(), shiplap.ErrOwnerDied)
	ok(t, v.Repaired())
	ok(t, v.Unlock())
	ok(t, v.TryLock())
	ok(t, v.Unlock())
}
