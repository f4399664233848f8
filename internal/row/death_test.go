package row

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// The stores of an operation, applied one by one to a copy: what survivors find after a death there.
// (Package explore makes the deaths themselves; this shows the states where the hint lags by laps.)

// drainAll takes everything as a survivor.
func drainAll(t *testing.T, w *world) (all [][]byte) {
	t.Helper()
	r := w.open(50)
	for {
		b, err := r.TryGet(nil)
		if errors.Is(err, errs.ErrEmpty) {
			return all
		}
		must(t, err)
		all = append(all, b)
	}
}

// A tail hint of any age since the last lap: the next producer goes on behind the last message.
func TestLaggingTail(t *testing.T) {
	w := newWorld(MinArea, false)
	r := w.open(1)
	type words struct{ tail, puts, bytes uint64 }
	load := func() words { return words{r.tail.Load(), r.puts.Load(), r.bytes.Load()} }
	for lap := range 40 {
		old := load()
		var want [][]byte
		for i := range 3 {
			m := msg(lap*3+i, 200+i*8)
			must(t, r.Put(bg, m))
			want = append(want, m)
			// The producer died after this commit, before it stored anything else.
			c := w.clone()
			cr := c.open(60)
			cr.tail.Store(old.tail)
			cr.puts.Store(old.puts)
			cr.bytes.Store(old.bytes)
			c.ctl.U32(base + ProducerLock).Store(77)
			c.ctl.U32(base + offBusy).Store(1)
			c.dead.Store(uint32(77), true)
			must(t, cr.Put(bg, []byte("next")))
			if s, err := cr.Stats(); err != nil || s.Puts != r.puts.Load()+1 || s.Depth != uint64(len(want)+1) {
				t.Fatalf("lap %d: %+v, %v; %d were put", lap, s, err, r.puts.Load()+1)
			}
			if got := drainAll(t, c); !slices.EqualFunc(got, append(slices.Clone(want), []byte("next")), bytes.Equal) {
				t.Fatalf("lap %d: %d messages, want %d", lap, len(got), len(want)+1)
			}
			// The same, but everything was taken before somebody puts again: the hint lies behind.
			c = w.clone()
			cr = c.open(60)
			cr.tail.Store(old.tail)
			cr.puts.Store(old.puts)
			drainAll(t, c)
			must(t, cr.Put(bg, []byte("next")))
			if got := drainAll(t, c); len(got) != 1 || string(got[0]) != "next" {
				t.Fatalf("lap %d: %q", lap, got)
			}
			if s, err := cr.Stats(); err != nil || s.Puts != s.Gets || s.Puts != r.puts.Load()+1 {
				t.Fatalf("lap %d: %+v, %v", lap, s, err)
			}
		}
		for range want {
			_, err := r.Get(bg, nil)
			must(t, err)
		}
	}
}

// A batch that was written but not committed is as if it had never been.
func TestUncommittedBatch(t *testing.T) {
	w := newWorld(MinArea, false)
	r := w.open(1)
	for lap := range 30 {
		must(t, r.Put(bg, msg(lap, 300)))
		c := w.clone()
		cr := c.open(77)
		if ok, _ := cr.ProducerLock.TryLock(); !ok {
			t.Fatal("locked")
		}
		var p Producer
		must(t, p.Resume(&cr.Row))
		for i := range 5 {
			must(t, p.Add(msg(i, 100+i)))
		}
		c.dead.Store(uint32(77), true)
		nr := c.open(60)
		must(t, nr.Put(bg, []byte("next")))
		got := drainAll(t, c)
		if len(got) != 2 || !bytes.Equal(got[0], msg(lap, 300)) || string(got[1]) != "next" {
			t.Fatalf("lap %d: %q", lap, got)
		}
		_, err := r.Get(bg, nil)
		must(t, err)
	}
}

// Dying between "taken" and "gets" costs no exactness.
func TestLaggingGets(t *testing.T) {
	w := newWorld(MinArea, false)
	r := w.open(1)
	for range 5 {
		must(t, r.Put(bg, nil))
	}
	_, err := r.Get(bg, nil)
	must(t, err)
	r.gets.Store(0)
	s, err := r.Stats()
	must(t, err)
	if s.Depth != 4 {
		t.Errorf("depth %d, want 4", s.Depth)
	}
	_, err = w.open(2).Get(bg, nil)
	must(t, err)
	if g := r.gets.Load(); g != 2 {
		t.Errorf("%d gets, want 2", g)
	}
}
