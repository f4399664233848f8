package row

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Every length at every offset comes out as it went in.
func TestWrapAround(t *testing.T) {
	w := newWorld(MinArea, false)
	r := w.open(1)
	for off := 8; off <= MinArea; off += 8 {
		advance(t, r, 8)
		for _, n := range []int{0, 1, 7, 8, 9, 100, 2040} {
			must(t, r.Put(bg, msg(off, n)))
		}
		for _, n := range []int{0, 1, 7, 8, 9, 100, 2040} {
			b, err := r.Get(bg, nil)
			must(t, err)
			if !bytes.Equal(b, msg(off, n)) {
				t.Fatalf("offset %d, %d bytes: came out as %d other bytes", off, n, len(b))
			}
		}
	}
	s, err := r.Stats()
	must(t, err)
	if s.Depth != 0 || s.Used != 0 || s.Puts != s.Gets {
		t.Errorf("%+v", s)
	}
}

func TestMaxPayload(t *testing.T) {
	for _, ack := range []bool{false, true} {
		w := newWorld(MinArea, ack)
		r := w.open(1)
		n := r.MaxPayload()
		for range 5 {
			must(t, r.TryPut(msg(1, n)))
			if err := r.TryPut(nil); !errors.Is(err, errs.ErrFull) {
				t.Errorf("put into a full queue: %v", err)
			}
			if ack {
				ls, err := r.TryLease()
				must(t, err)
				if !bytes.Equal(r.Body(ls), msg(1, n)) {
					t.Error("other bytes")
				}
				must(t, r.Settle(ls, true))
				continue
			}
			b, err := r.Get(bg, []byte("x"))
			must(t, err)
			if !bytes.Equal(b[1:], msg(1, n)) || b[0] != 'x' {
				t.Error("other bytes")
			}
		}
		for _, err := range []error{
			r.TryPut(make([]byte, n+1)), r.Put(bg, make([]byte, n+1)), r.Fits(n + 1), r.Fits(-1),
			func() error { _, err := r.PutMany(bg, [][]byte{nil, make([]byte, n+1)}); return err }(),
		} {
			if !errors.Is(err, errs.ErrTooLarge) {
				t.Errorf("one byte too many: %v", err)
			}
		}
		if s, _ := r.Stats(); s.Depth != 0 {
			t.Errorf("a refused batch left %d messages", s.Depth)
		}
	}
}

func TestReserve(t *testing.T) {
	w := newWorld(MinArea, false)
	r := w.open(1)
	for off := 0; off < 2*MinArea; off += 136 {
		_, err := r.ProducerLock.Lock(bg)
		must(t, err)
		var p Producer
		must(t, p.Resume(&r.Row))
		for i := range 3 {
			b, err := p.Reserve(100)
			must(t, err)
			if len(b) != 100 {
				t.Fatalf("%d bytes reserved", len(b))
			}
			copy(b, msg(off+i, 100))
			p.AddReserved(b, 50+i) // less than was reserved
		}
		if !r.Empty() {
			t.Fatal("visible before the commit")
		}
		if p.Pending() != 3 {
			t.Errorf("%d pending", p.Pending())
		}
		must(t, p.Commit())
		if _, err := p.Reserve(r.MaxPayload()); !errors.Is(err, errs.ErrFull) {
			t.Errorf("reserve in a filled queue: %v", err)
		}
		b, err := p.Reserve(30)
		must(t, err)
		p.AddReserved(b, 30)
		p.Drop()
		r.ProducerLock.Unlock()
		for i := range 3 {
			b, err := r.Get(bg, nil)
			must(t, err)
			if !bytes.Equal(b, msg(off+i, 100)[:50+i]) {
				t.Fatalf("offset %d: other bytes", off)
			}
		}
		if !r.Empty() {
			t.Fatal("a dropped message is there")
		}
	}
}

// Shared handles of several fake processes; each message comes once, in its producer's order.
func TestManyToMany(t *testing.T) {
	const producers, consumers, each = 3, 3, 400
	w := newWorld(MinArea, false)
	var pw, cw sync.WaitGroup
	var sum, n atomic.Int64
	for i := range producers {
		pw.Go(func() {
			r := w.open(uint32(1 + i))
			for k := 0; k < each; {
				if k%3 == 0 {
					m, err := r.PutMany(bg, [][]byte{fmt.Appendf(nil, "%d %d", i, k), fmt.Appendf(nil, "%d %d", i, k+1)})
					if err != nil || m != 2 {
						t.Errorf("put %d: %v", m, err)
					}
					k += 2
					continue
				}
				if err := r.Put(bg, fmt.Appendf(nil, "%d %d", i, k)); err != nil {
					t.Error(err)
				}
				k++
			}
		})
	}
	for i := range consumers {
		cw.Go(func() {
			r := w.open(uint32(10 + i))
			last := [producers]int{-1, -1, -1}
			for {
				_, err := r.GetMany(bg, 1+i, func(b []byte) error {
					var p, k int
					if _, err := fmt.Sscanf(string(b), "%d %d", &p, &k); err != nil {
						t.Errorf("%q: %v", b, err)
						return nil
					}
					if k <= last[p] {
						t.Errorf("%d of producer %d after %d", k, p, last[p])
					}
					last[p] = k
					sum.Add(int64(k))
					n.Add(1)
					return nil
				})
				if errors.Is(err, errs.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	pw.Wait()
	r := w.open(99)
	s, err := r.Stats()
	must(t, err)
	r.Close()
	cw.Wait()
	if want := n.Load(); s.Puts != uint64(want) || want < producers*each {
		t.Errorf("%d put, %d came", s.Puts, want)
	}
	s, err = r.Stats()
	if err != nil || s.Depth != 0 || s.Gets != s.Puts || !s.Closed {
		t.Errorf("at the end: %+v, %v", s, err)
	}
	if err := r.Put(bg, nil); !errors.Is(err, errs.ErrClosed) {
		t.Errorf("put after close: %v", err)
	}
}

func TestExclusiveHandles(t *testing.T) {
	w := newWorld(MinArea, false)
	const n = 3000
	var wg sync.WaitGroup
	wg.Go(func() {
		r := w.open(1)
		if _, err := r.ProducerLock.Lock(bg); err != nil {
			t.Error(err)
		}
		var p Producer
		if err := p.Resume(&r.Row); err != nil {
			t.Error(err)
		}
		for i := range n {
			if err := p.Put(bg, msg(i, i%300)); err != nil {
				t.Error(err)
			}
		}
		r.ProducerLock.Unlock()
	})
	r := w.open(2)
	_, err := r.ConsumerLock.Lock(bg)
	must(t, err)
	var c Consumer
	must(t, c.Resume(r))
	var b []byte
	for i := range n {
		if i%5 == 0 { // in place, taken back once
			p, err := c.Peek(bg)
			must(t, err)
			if !bytes.Equal(p, msg(i, i%300)) {
				t.Fatalf("peek %d", i)
			}
			c.Back()
		}
		b, err = c.Get(bg, b[:0])
		must(t, err)
		if !bytes.Equal(b, msg(i, i%300)) {
			t.Fatalf("message %d: %d bytes", i, len(b))
		}
	}
	wg.Wait()
	if _, err := c.TryGet(nil); !errors.Is(err, errs.ErrEmpty) {
		t.Errorf("from an empty queue: %v", err)
	}
}

func TestStats(t *testing.T) {
	w := newWorld(MinArea, false)
	r := w.open(1)
	var bytesPut uint64
	for i := range 10 {
		must(t, r.Put(bg, make([]byte, 100)))
		bytesPut += 100
		s, err := r.Stats()
		must(t, err)
		if s.Depth != uint64(i+1) || s.Puts != uint64(i+1) || s.Used != uint64(i+1)*112 || s.Bytes != bytesPut {
			t.Fatalf("after %d: %+v", i+1, s)
		}
	}
	for i := range 10 {
		_, err := r.Get(bg, nil)
		must(t, err)
		s, err := r.Stats()
		must(t, err)
		if s.Depth != uint64(9-i) || s.Gets != uint64(i+1) || s.Used != uint64(9-i)*112 {
			t.Fatalf("after taking %d: %+v", i+1, s)
		}
		if s.HighWater > 1120 || s.HighWater < 1120-MinArea/64 {
			t.Fatalf("high water %d, want 1120 to 1/64 of %d", s.HighWater, MinArea)
		}
	}
}

// Whoever waits is called back.
func TestCancelAndClose(t *testing.T) {
	for _, ack := range []bool{false, true} {
		w := newWorld(MinArea, ack)
		full := newWorld(MinArea, ack)
		fr := full.open(1)
		must(t, fr.Put(bg, make([]byte, fr.MaxPayload())))
		take := func(r *Queue, ctx context.Context) error {
			if ack {
				_, err := r.Lease(ctx)
				return err
			}
			_, err := r.Get(ctx, nil)
			return err
		}
		for name, c := range map[string]struct {
			w    *world
			call func(*Queue, context.Context) error
		}{
			"take": {w, take},
			"put":  {full, func(r *Queue, ctx context.Context) error { return r.Put(ctx, []byte("more")) }},
		} {
			start := func(ctx context.Context) (*Queue, chan error) {
				r := c.w.open(2)
				sleeps := r.emptySleeps
				if name == "put" {
					sleeps = r.fullSleeps
				}
				was := sleeps.Load()
				done := make(chan error, 1)
				go func() { done <- c.call(r, ctx) }()
				eventually(t, func() bool { return sleeps.Load() > was })
				return r, done
			}
			ctx, cancel := context.WithCancelCause(bg)
			why := errors.New("why")
			_, done := start(ctx)
			cancel(why)
			if err := within(t, done); !errors.Is(err, why) {
				t.Errorf("%s (ack %v) cancelled: %v", name, ack, err)
			}
			r, done := start(bg)
			r.Sess.Interrupt(errs.ErrClosed)
			if err := within(t, done); !errors.Is(err, errs.ErrClosed) {
				t.Errorf("%s (ack %v), handle closed: %v", name, ack, err)
			}
			r, done = start(bg)
			_ = r
			c.w.open(3).Close()
			if err := within(t, done); !errors.Is(err, errs.ErrClosed) {
				t.Errorf("%s (ack %v), queue closed: %v", name, ack, err)
			}
			c.w.state.Store(Removed)
			if err := c.call(r, bg); !errors.Is(err, errs.ErrRemoved) {
				t.Errorf("%s (ack %v) of a removed queue: %v", name, ack, err)
			}
		}
	}
}

func within(t *testing.T, done chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("still waiting")
		return nil
	}
}

func eventually(t *testing.T, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

// A closed ring ends when its last message is taken, never before.
func TestDrained(t *testing.T) {
	w := newWorld(MinArea, false)
	r := w.open(1)
	must(t, r.Put(bg, []byte("a")))
	must(t, r.Put(bg, []byte("b")))
	r.Close()
	r.Close()
	for _, want := range []string{"a", "b"} {
		b, err := r.Get(bg, nil)
		if err != nil || string(b) != want {
			t.Fatalf("%q, %v", b, err)
		}
	}
	if _, err := r.Get(bg, nil); !errors.Is(err, errs.ErrClosed) {
		t.Errorf("at the end: %v", err)
	}
	if _, err := r.TryGet(nil); !errors.Is(err, errs.ErrClosed) {
		t.Errorf("at the end, without waiting: %v", err)
	}
	// A producer that died between its look at the state word and its commit holds nobody up.
	w.ctl.U32(base + offBusy).Store(1)
	w.ctl.U32(base + ProducerLock).Store(77)
	w.dead.Store(uint32(77), true)
	if _, err := r.Get(bg, nil); !errors.Is(err, errs.ErrClosed) {
		t.Errorf("after a death: %v", err)
	}
	if w.ctl.U32(base+offBusy).Load() != 0 {
		t.Error("the dead one still counts as busy")
	}
}

// An error of the callback: what it refused is taken, what is behind it stays.
func TestGetManyStops(t *testing.T) {
	w := newWorld(MinArea, false)
	r := w.open(1)
	for _, s := range []string{"a", "b", "c"} {
		must(t, r.Put(bg, []byte(s)))
	}
	stop := errors.New("stop")
	n, err := r.GetMany(bg, 10, func(b []byte) error {
		if string(b) == "b" {
			return stop
		}
		return nil
	})
	if n != 1 || err != stop {
		t.Errorf("%d, %v", n, err)
	}
	if b, err := r.Get(bg, nil); err != nil || string(b) != "c" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestBusy(t *testing.T) {
	w := newWorld(MinArea, false)
	r, other := w.open(1), w.open(2)
	must(t, r.Put(bg, nil))
	if ok, _ := other.ProducerLock.TryLock(); !ok {
		t.Fatal("not locked")
	}
	if ok, _ := other.ConsumerLock.TryLock(); !ok {
		t.Fatal("not locked")
	}
	if err := r.TryPut(nil); !errors.Is(err, errs.ErrBusy) {
		t.Errorf("put: %v", err)
	}
	if _, err := r.TryGet(nil); !errors.Is(err, errs.ErrBusy) {
		t.Errorf("get: %v", err)
	}
	if _, err := r.TryLease(); !errors.Is(err, errs.ErrBusy) {
		t.Errorf("lease: %v", err)
	}
	other.ProducerLock.Unlock()
	other.ConsumerLock.Unlock()
	must(t, r.TryPut(nil))
}

func TestCheckArea(t *testing.T) {
	for _, n := range []uint64{0, 1, 2048, MinArea + 8, 3 * MinArea, MaxArea * 2, 1 << 63} {
		if err := CheckArea(n); !errors.Is(err, errs.ErrCorrupt) {
			t.Errorf("%d: %v", n, err)
		}
	}
	for n := uint64(MinArea); n <= MaxArea; n *= 2 {
		must(t, CheckArea(n))
	}
	r := mem.NewHeap(mem.Part{Len: base + ControlSize}, mem.Part{Len: 5000})
	defer func() {
		if recover() == nil {
			t.Error("an unchecked size is opened")
		}
	}()
	OpenQueue(Config{Ctl: r.Span(0), Area: r.Span(1)}, false)
}

func TestExtend(t *testing.T) {
	for _, approx := range []uint64{0, 1, 5, 1<<24 - 1, 1 << 24, 1<<24 + 1, 1 << 40, 1<<40 - 3} {
		for _, d := range []int64{-1000, -1, 0, 1, 1000, 1 << 22} {
			want := uint64(int64(approx) + d)
			if int64(want) < 0 {
				continue
			}
			if got := extend(approx, header(0, want)); got != want {
				t.Errorf("near %d: %d, want %d", approx, got, want)
			}
		}
	}
}
