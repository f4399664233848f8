package member

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/bell"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/segment"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// clearDead does what a sweep does in the end.
func clearDead(t *Table) (n int, err error) {
	for _, l := range t.Leftovers() {
		l.Left = 0
		ok, err := t.Advance(l)
		if err != nil {
			return n, err
		}
		if ok {
			n++
		}
	}
	return n, nil
}

// How far sweeps have come stands in the slot of the dead, which stays one until they are done; the next owner knows nothing
// of it.
func TestLeftover(t *testing.T) {
	base := t.TempDir()
	tab := join(t, base)
	defer tab.Leave()
	c := start(t, base)
	if len(tab.Leftovers()) != 0 {
		t.Errorf("%+v", tab.Leftovers())
	}
	c.kill()
	eventually(t, "the death", tab.AnyDead)
	all := tab.Leftovers()
	if len(all) != 1 || all[0].Token != c.token || all[0].Next != -1 || all[0].Left != Buckets || all[0].Pid != c.cmd.Process.Pid {
		t.Fatalf("%+v", all)
	}
	for _, step := range []struct{ next, left int }{{Buckets - 1, Buckets}, {0, Buckets - 1}, {Buckets / 2, 1}} {
		l := all[0]
		l.Next, l.Left = step.next, step.left
		if ok, err := tab.Advance(l); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if now := tab.Leftovers(); len(now) != 1 || now[0] != l {
			t.Errorf("%+v: %+v", l, now)
		}
		if in, ok := tab.Lookup(c.token); !ok || in.Alive {
			t.Errorf("%+v, %v", in, ok)
		}
	}
	stale := all[0]
	stale.Left = 0
	if ok, err := tab.Advance(stale); !ok || err != nil || tab.AnyDead() {
		t.Fatal(ok, err)
	}
	next := start(t, base)
	if a, _ := splitToken(c.token); a != int(next.token&(Slots-1)) {
		t.Fatalf("slots %d and %d: this test wants one", a, next.token&(Slots-1))
	}
	for _, left := range []int{0, 5} { // somebody is late with what it knows of the dead
		stale.Left = left
		if ok, err := tab.Advance(stale); ok || err != nil {
			t.Errorf("it was written into the slot of a living one: %v", err)
		}
	}
	if in, ok := tab.Lookup(next.token); !ok || !in.Alive {
		t.Errorf("%+v, %v", in, ok)
	}
	next.leave(t)
}

// Claim locks belong to the open file, so goroutines of one process need more to keep each other out.
func TestClaimAmongGoroutines(t *testing.T) {
	tab := join(t, t.TempDir())
	defer tab.Leave()
	var inside atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 300 {
				_, err := tab.withClaim(Slots-1, func() error {
					if inside.Add(1) != 1 {
						t.Error("two have the claim lock of one slot")
					}
					runtime.Gosched()
					inside.Add(-1)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// A process that stands still in the middle of claiming a slot does not make the slot's dead owner look alive: what
// that one held is taken over beside it.
func TestTakeOverBesideAJoiner(t *testing.T) {
	base := t.TempDir()
	tab := join(t, base)
	defer tab.Leave()
	c := start(t, base)
	span := mem.NewHeap(mem.Part{Len: wordlock.Size}).Span(0)
	l := wordlock.New(span, 0, tab, &wait.Session{})
	span.U32(0).Store(c.token) // it holds the lock
	if ok, _ := l.TryLock(); ok {
		t.Fatal("a living owner was robbed")
	}
	c.kill()
	eventually(t, "the death", tab.AnyDead)
	if _, err := clearDead(tab); err != nil {
		t.Fatal(err)
	}
	d, err := segment.OpenDir(base, "domain", false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	f, err := d.Open(FileName) // as another process would
	if err != nil {
		t.Fatal(err)
	}
	joiner := &Table{file: f}
	defer joiner.release()
	defer func() { claiming = nil }()
	stood := false
	claiming = func() {
		stood = true
		if ok, recovered := l.TryLock(); !ok || !recovered {
			t.Errorf("taken over: %v, %v", ok, recovered)
		}
	}
	if err := joiner.enter(d); err != nil {
		t.Fatal(err)
	}
	slot, _ := splitToken(c.token)
	if !stood || joiner.slot != slot {
		t.Errorf("it stood still: %v; it has slot %d, the dead one had %d", stood, joiner.slot, slot)
	}
}

// A process that takes over the slot of a dead one takes away the FIFO that this one left: it is no way to the new owner.
func TestClaimSilences(t *testing.T) {
	base := t.TempDir()
	tab := join(t, base)
	defer tab.Leave()
	c := start(t, base)
	c.kill()
	eventually(t, "the death", tab.AnyDead)
	d, err := segment.OpenDir(base, "domain", false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	slot, _ := splitToken(c.token)
	fd, err := d.MakeFIFO(bell.FileName(slot))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	f, err := d.Open(FileName) // as another process would
	if err != nil {
		t.Fatal(err)
	}
	joiner := &Table{file: f, slot: -1}
	defer joiner.release()
	if err := errors.Join(joiner.hang(d), joiner.load(mem.Map)); err != nil {
		t.Fatal(err)
	}
	if ok, err := joiner.claim(slot, self()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if fd, err := d.OpenFIFO(bell.FileName(slot)); err == nil {
		syscall.Close(fd)
		t.Error("the FIFO of the dead owner stays")
	}
}
