package row

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Every length at every offset comes out as it went in, to both of two.
func TestTopicWrapAround(t *testing.T) {
	for _, overwrite := range []bool{false, true} {
		w := newTopicWorld(MinArea, overwrite, 4)
		f := w.open(1)
		a, b := subscribe(t, f, 0), subscribe(t, f, 0)
		for off := 8; off <= MinArea; off += 8 {
			must(t, f.Put(bg, make([]byte, 8)))
			for _, n := range []int{8, 9, 15, 16, 100, 2040} {
				must(t, f.Put(bg, numbered(off, n)))
			}
			for _, s := range []*Subscriber{a, b} {
				for i, n := range []int{8, 8, 9, 15, 16, 100, 2040} {
					m, err := s.Get(bg, nil)
					must(t, err)
					if i > 0 && !bytes.Equal(m, numbered(off, n)) {
						t.Fatalf("offset %d, %d bytes: came out as %d other bytes", off, n, len(m))
					}
				}
				if _, err := s.TryGet(nil); err != errs.ErrEmpty {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestTopicSizes(t *testing.T) {
	for _, overwrite := range []bool{false, true} {
		w := newTopicWorld(MinArea, overwrite, 1)
		f := w.open(1)
		n := f.MaxPayload()
		s := subscribe(t, f, 0)
		for i := range 5 {
			must(t, f.TryPut(numbered(i, n)))
			if err := f.TryPut(nil); !overwrite && err != errs.ErrFull {
				t.Errorf("into a full topic: %v", err)
			}
			m, err := s.TryGet([]byte("x"))
			var lag Lagged
			if overwrite && errors.As(err, &lag) && lag.N == 1 {
				m, err = s.TryGet([]byte("x"))
				must(t, err)
				if len(m) != 1 {
					t.Errorf("%d bytes", len(m))
				}
				continue
			}
			must(t, err)
			if !bytes.Equal(m[1:], numbered(i, n)) || m[0] != 'x' {
				t.Error("other bytes")
			}
		}
		for _, err := range []error{
			f.TryPut(make([]byte, n+1)), f.Put(bg, make([]byte, n+1)), f.Fits(-1),
			func() error { _, err := f.PutMany(bg, [][]byte{nil, make([]byte, n+1)}); return err }(),
		} {
			if !errors.Is(err, errs.ErrTooLarge) {
				t.Errorf("one byte too many: %v", err)
			}
		}
	}
}

// model is what a topic should do: all messages, and where each subscriber is.
type model struct {
	sizes []int // of all messages, by number
	at    map[*Subscriber]int
}

// TestTopicModel does the same at random to a topic and to a list.
func TestTopicModel(t *testing.T) {
	for seed := range uint64(40) {
		overwrite := seed%2 == 1
		r := rand.New(rand.NewPCG(seed, 1))
		w := newTopicWorld(MinArea, overwrite, 6)
		f := w.open(1)
		m := model{at: map[*Subscriber]int{}}
		var subs []*Subscriber
		publish := func() {
			var batch [][]byte
			var sizes []int
			for range 1 + r.IntN(4) {
				n := 8 + r.IntN(300)
				batch, sizes = append(batch, numbered(len(m.sizes)+len(sizes), n)), append(sizes, n)
			}
			ctx, cancel := context.WithCancel(bg)
			if !overwrite {
				cancel() // publish what there is room for
			}
			k, err := f.PutMany(ctx, batch)
			cancel()
			if err != nil && (overwrite || err != context.Canceled) {
				t.Fatal(err)
			}
			m.sizes = append(m.sizes, sizes[:k]...)
		}
		read := func(s *Subscriber) {
			b, err := s.TryGet(nil)
			var lag Lagged
			switch {
			case err == errs.ErrEmpty:
				if m.at[s] != len(m.sizes) {
					t.Fatalf("seed %d: empty at %d of %d", seed, m.at[s], len(m.sizes))
				}
			case errors.As(err, &lag):
				if !overwrite {
					t.Fatal(err)
				}
				m.at[s] += int(lag.N)
			case err != nil:
				t.Fatal(err)
			default:
				i, err := number(b)
				if err != nil || i != m.at[s] || len(b) != m.sizes[i] {
					t.Fatalf("seed %d: message %d of %d bytes; %d is wanted (%v)", seed, i, len(b), m.at[s], err)
				}
				m.at[s]++
			}
		}
		for range 2000 {
			switch k := r.IntN(20); {
			case k < 6:
				publish()
			case k == 6 && len(subs) < 6:
				last := []uint64{0, 3, 1 << 40}[r.IntN(3)]
				s := subscribe(t, f, last)
				subs = append(subs, s)
				if s.number > uint64(len(m.sizes)) || uint64(len(m.sizes))-s.number > last {
					t.Fatalf("seed %d: with the last %d, it starts at %d of %d", seed, last, s.number, len(m.sizes))
				}
				if st := f.Stats(); last == 1<<40 && uint64(len(m.sizes))-s.number != st.Kept {
					t.Fatalf("seed %d: it starts at %d of %d, %+v", seed, s.number, len(m.sizes), st)
				}
				m.at[s] = int(s.number)
			case k == 7 && len(subs) > 0:
				i := r.IntN(len(subs))
				subs[i].Leave()
				subs = slices.Delete(subs, i, i+1)
			case len(subs) > 0:
				read(subs[r.IntN(len(subs))])
			}
			if len(subs) > 0 {
				s := subs[r.IntN(len(subs))]
				if n, _ := s.Lag(); int(n) != len(m.sizes)-m.at[s] {
					t.Fatalf("seed %d: lag %d, %d of %d", seed, n, m.at[s], len(m.sizes))
				}
			}
		}
		if st := f.Stats(); st.Published != uint64(len(m.sizes)) || len(st.Readers) != len(subs) {
			t.Errorf("%d published, %d subscribers: %+v", len(m.sizes), len(subs), st)
		}
	}
}

// TestLagIsExact: what was missed and what was read add up to what was published, however fast publishers are.
func TestLagIsExact(t *testing.T) {
	const n = 30_000
	w := newTopicWorld(MinArea, true, 3)
	var wg sync.WaitGroup
	for i := range 3 {
		f := w.open(uint32(2 + i))
		s := subscribe(t, f, 0)
		wg.Go(func() {
			read, missed := 0, uint64(0)
			for last := -1; ; {
				b, err := s.Get(bg, nil)
				var lag Lagged
				if errors.As(err, &lag) {
					missed += lag.N
					last += int(lag.N)
					continue
				}
				if err == errs.ErrClosed {
					break
				}
				if err != nil {
					t.Error(err)
					return
				}
				k, err := number(b)
				if err != nil || k != last+1 {
					t.Errorf("message %d follows %d, %d missed (%v)", k, last, missed, err)
					return
				}
				last = k
				read++
			}
			if read+int(missed) != n {
				t.Errorf("%d read, %d missed of %d", read, missed, n)
			}
		})
	}
	f := w.open(1)
	for i := range n {
		must(t, f.Put(bg, numbered(i, 8+i%100)))
	}
	f.Close()
	wg.Wait()
}

// Shared handles of several fake processes: each subscriber gets each message once, in its publisher's order.
func TestTopicManyToMany(t *testing.T) {
	const publishers, subscribers, each = 3, 3, 500
	w := newTopicWorld(MinArea, false, subscribers)
	var pw, sw sync.WaitGroup
	for i := range subscribers {
		s := subscribe(t, w.open(uint32(10+i)), 0)
		sw.Go(func() {
			defer s.Leave()
			var next [publishers]int
			for {
				b, err := s.Get(bg, nil)
				if err == errs.ErrClosed {
					break
				}
				if err != nil {
					t.Error(err)
					return
				}
				var p, k int
				if _, err := fmt.Sscanf(string(b), "%d %d", &p, &k); err != nil || k != next[p] {
					t.Errorf("%q, %v is next", b, next)
					return
				}
				next[p]++
			}
			if next != [publishers]int{each, each, each} {
				t.Errorf("got %v", next)
			}
		})
	}
	for i := range publishers {
		pw.Go(func() {
			f := w.open(uint32(1 + i))
			for k := 0; k < each; k++ {
				var err error
				if k%5 == 0 && k+1 < each {
					_, err = f.PutMany(bg, [][]byte{fmt.Appendf(nil, "%d %d", i, k), fmt.Appendf(nil, "%d %d", i, k+1)})
					k++
				} else {
					err = f.Put(bg, fmt.Appendf(nil, "%d %d", i, k))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	pw.Wait()
	w.open(1).Close()
	sw.Wait()
}

// Newcomers and leavers beside a busy publisher never make it overwrite what somebody reads, nor stop for ever.
func TestComingAndGoing(t *testing.T) {
	for _, overwrite := range []bool{false, true} {
		w := newTopicWorld(MinArea, overwrite, 4)
		var stop atomic.Bool
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				f := w.open(uint32(2 + i))
				for round := 0; !stop.Load(); round++ {
					s, err := f.Subscribe(uint64(round % 3 * 20))
					if errors.Is(err, errs.ErrBusy) && overwrite {
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					last := -1
					for range 20 {
						b, err := s.TryGet(nil)
						if err == errs.ErrEmpty {
							continue
						}
						if errors.As(err, new(Lagged)) && overwrite {
							last = -1
							continue
						}
						if err != nil {
							t.Error(err)
							return
						}
						if k, err := number(b); err != nil || last >= 0 && k != last+1 {
							t.Errorf("%d follows %d (%v)", k, last, err)
						} else {
							last = k
						}
					}
					s.Leave()
				}
			})
		}
		f := w.open(1)
		for i, end := 0, time.Now().Add(200*time.Millisecond); time.Now().Before(end); i++ {
			must(t, f.Put(bg, numbered(i, 8+i%200)))
		}
		stop.Store(true)
		wg.Wait()
		if st := f.Stats(); len(st.Readers) != 0 {
			t.Errorf("%+v", st)
		}
	}
}

func TestLateJoin(t *testing.T) {
	for _, overwrite := range []bool{false, true} {
		w := newTopicWorld(MinArea, overwrite, 1)
		f := w.open(1)
		for i := range 1000 {
			must(t, f.Put(bg, numbered(i, 64)))
		}
		kept := int(f.Stats().Kept)
		if kept < 40 || kept > 4096/80 {
			t.Errorf("%d messages of 64 bytes are kept in 4096", kept)
		}
		for _, last := range []int{0, 1, 10, kept, kept + 1, 1 << 40} {
			s := subscribe(t, f, uint64(last))
			for i := 1000 - min(last, kept); i < 1000; i++ {
				b, err := s.TryGet(nil)
				must(t, err)
				if k, err := number(b); err != nil || k != i {
					t.Fatalf("last %d: %d, %d is wanted (%v)", last, k, i, err)
				}
			}
			if _, err := s.TryGet(nil); err != errs.ErrEmpty {
				t.Errorf("last %d: %v", last, err)
			}
			s.Leave()
		}
	}
}

func TestTopicFullSlots(t *testing.T) {
	w := newTopicWorld(MinArea, false, 2)
	f := w.open(1)
	a := subscribe(t, f, 0)
	b := subscribe(t, w.open(2), 0)
	if _, err := f.Subscribe(0); !errors.Is(err, errs.ErrFull) {
		t.Errorf("a third of two: %v", err)
	}
	w.dead.Store(uint32(2), true)
	c := subscribe(t, f, 0)
	if _, err := b.TryGet(nil); !errors.Is(err, errs.ErrCorrupt) {
		t.Errorf("whose slot was taken: %v", err)
	}
	b.Leave() // not ours any more: no harm
	a.Leave()
	must(t, f.Put(bg, numbered(1, 8)))
	if m, err := c.TryGet(nil); err != nil || !bytes.Equal(m, numbered(1, 8)) {
		t.Error(m, err)
	}
}

// A dead subscriber holds nobody up; a living one does, and is named.
func TestSlowest(t *testing.T) {
	w := newTopicWorld(MinArea, false, 4)
	f := w.open(1)
	quick, slow, dead := subscribe(t, f, 0), subscribe(t, w.open(2), 0), subscribe(t, w.open(3), 0)
	n := 0
	fill := func() {
		for ; ; n++ {
			if err := f.TryPut(numbered(n, 64)); err == errs.ErrFull {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			_, err := quick.TryGet(nil)
			must(t, err)
		}
	}
	fill()
	if _, err := slow.TryGet(nil); err != nil {
		t.Fatal(err)
	}
	if err := f.TryPut(numbered(n, 64)); err != errs.ErrFull {
		t.Errorf("past a subscriber that is not dead: %v", err)
	}
	w.dead.Store(dead.me, true)
	must(t, f.TryPut(numbered(n, 64)))
	n++
	fill()
	st := f.Stats()
	if len(st.Readers) != 2 {
		t.Fatalf("%+v", st)
	}
	r := st.Readers[1]
	if r.Token != 2 || r.Messages != uint64(n-1) || r.Bytes != uint64(80*(n-1)) || r.Received != 1 {
		t.Errorf("%d published: %+v", n, r)
	}
	got := make(chan error)
	go func() { got <- f.Put(bg, numbered(n, 64)) }()
	w.dead.Store(slow.me, true) // it is found by looking
	select {
	case err := <-got:
		must(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("a dead subscriber blocks")
	}
}

func TestTopicClosing(t *testing.T) {
	for _, overwrite := range []bool{false, true} {
		w := newTopicWorld(MinArea, overwrite, 2)
		f := w.open(1)
		s := subscribe(t, f, 0)
		must(t, f.Put(bg, numbered(7, 50)))
		done := make(chan error)
		go func() {
			_, err := s.Get(bg, nil)
			if err == nil {
				_, err = s.Get(bg, nil)
			}
			done <- err
		}()
		f.Close()
		if err := <-done; err != errs.ErrClosed {
			t.Error(err)
		}
		for _, err := range []error{f.Put(bg, nil), f.TryPut(nil)} {
			if err != errs.ErrClosed {
				t.Error(err)
			}
		}
		late := subscribe(t, f, 5)
		if b, err := late.TryGet(nil); err != nil || !bytes.Equal(b, numbered(7, 50)) {
			t.Error(b, err)
		}
		if _, err := late.TryGet(nil); err != errs.ErrClosed {
			t.Error(err)
		}
	}
}

func TestTopicCancel(t *testing.T) {
	w := newTopicWorld(MinArea, false, 1)
	f := w.open(1)
	s := subscribe(t, f, 0)
	ctx, cancel := context.WithTimeout(bg, 5*time.Millisecond)
	defer cancel()
	if _, err := s.Get(ctx, nil); err != context.DeadlineExceeded {
		t.Error(err)
	}
	if err := f.Put(bg, make([]byte, f.MaxPayload())); err != nil {
		t.Error(err)
	}
	ctx, cancel = context.WithTimeout(bg, 5*time.Millisecond)
	defer cancel()
	if err := f.Put(ctx, make([]byte, f.MaxPayload())); err != context.DeadlineExceeded {
		t.Error(err)
	}
}

// A publisher that dies between any two stores of its commit leaves all or nothing.
func TestDeathOfAProducer(t *testing.T) {
	for _, overwrite := range []bool{false, true} {
		w := newTopicWorld(MinArea, overwrite, 2)
		f := w.open(1)
		for i := range 100 {
			must(t, f.Put(bg, numbered(i, 64)))
		}
		must(t, second(f.ProducerLock.Lock(bg)))
		var p Producer
		must(t, p.Resume(&f.Row))
		for i := 100; i < 103; i++ {
			must(t, p.Add(numbered(i, 64)))
		}
		before := w.clone()
		tail := f.tail.Load()
		must(t, p.Commit())
		after := w.clone()
		after.ctl.U64(topicBase + topicTail).Store(tail) // died before it stored it
		after.ctl.U32(topicBase + topicBusy).Store(1)
		for i, c := range []*topicWorld{before, after} {
			c.dead.Store(uint32(1), true)
			g := c.open(2)
			s := subscribe(t, g, 0)
			must(t, g.Put(bg, numbered(200, 64)))
			var got []int
			for {
				b, err := s.TryGet(nil)
				if err == errs.ErrEmpty {
					break
				}
				must(t, err)
				k, err := number(b)
				must(t, err)
				got = append(got, k)
			}
			if want := [][]int{{200}, {100, 101, 102, 200}}[i]; !slices.Equal(got, want) {
				t.Errorf("overwrite %v: got %v, %v is wanted", overwrite, got, want)
			}
			g.Close()
			if _, err := s.TryGet(nil); err != errs.ErrClosed {
				t.Error(err)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }
