package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/table"
)

// blocking are the calls that may wait, each with all it needs.
func blocking(s *Store) map[string]func(ctx context.Context) error {
	second := func(_ any, err error) error { return err }
	return map[string]func(ctx context.Context) error{
		"Set":       func(ctx context.Context) error { return second(s.Set(ctx, "a", nil)) },
		"Create":    func(ctx context.Context) error { return second(s.Create(ctx, "new", nil)) },
		"Update":    func(ctx context.Context) error { return second(s.Update(ctx, "a", nil, 1)) },
		"Add":       func(ctx context.Context) error { return second(s.Add(ctx, "n", 1)) },
		"Delete":    func(ctx context.Context) error { return s.Delete(ctx, "a") },
		"DeleteRev": func(ctx context.Context) error { return s.DeleteRev(ctx, "a", 1) },
		"Expire":    func(ctx context.Context) error { return s.Expire(ctx, "a", time.Hour) },
		"Persist":   func(ctx context.Context) error { return s.Persist(ctx, "a") },
		"Clear":     s.Clear,
		"Reclaim":   func(ctx context.Context) error { return second(s.Reclaim(ctx)) },
		"Check":     s.Check,
		"Load": func(ctx context.Context) error {
			return second(s.Load(ctx, strings.NewReader(`{"key":"a","value":""}`)))
		},
		"typed Set": func(ctx context.Context) error { return second(Set(ctx, s, "a", 1.5)) },
		"Lock":      func(ctx context.Context) error { return second(s.Lock(ctx, "locked")) },
		"Lock, another key": func(ctx context.Context) error {
			l, err := s.Lock(ctx, "free")
			return errors.Join(err, l.Unlock())
		},
		"Watch": func(ctx context.Context) error {
			for _, err := range s.Watch(ctx, "a", nil) {
				return err
			}
			return errors.New("no event and no error")
		},
	}
}

// TestEveryCallCanBeCancelled: while somebody holds all the locks each call that waits ends with its
// context, and with Close. In some stripes a writer died instead, which takes the heap's lock to
// finish.
func TestEveryCallCanBeCancelled(t *testing.T) {
	d := domain(t)
	create(t, d, nil) // stays open: the store must not go with s
	s, err := Open(d, "s", nil)
	ok(t, err)
	_, err = s.Set(bg, "a", nil)
	ok(t, err)
	l, err := s.Lock(bg, "locked")
	ok(t, err)
	me := s.obj.Space.Table.Self()
	locks := []int{table.BindingLock, table.HeapLock}
	for i := range table.MaxStripes {
		locks = append(locks, table.WriterLock(i))
	}
	for _, off := range locks {
		s.obj.Ctl.U32(off).Store(me) // a living process that does not let go
	}
	for i := 0; i < table.MaxStripes; i += 2 {
		s.obj.Ctl.U32(table.WriterLock(i)).Store(deadToken)
	}
	why := errors.New("why")
	var calls sync.WaitGroup
	for name, f := range blocking(s) {
		if name == "Lock, another key" {
			f = func(ctx context.Context) error {
				_, err := s.Lock(ctx, "free")
				return err
			}
		}
		ctx, cancel := context.WithCancelCause(bg)
		time.AfterFunc(time.Millisecond, func() { cancel(why) })
		if err := f(ctx); !errors.Is(err, why) {
			t.Errorf("%s: %v", name, err)
		}
		calls.Go(func() {
			if err := f(bg); !errors.Is(err, shiplap.ErrClosed) {
				t.Errorf("%s: %v after Close", name, err)
			}
		})
	}
	// Readers, and those who do not wait, are not held up.
	_, err = s.Get("a")
	ok(t, err)
	_, err = s.All(bg, "")
	ok(t, err)
	for _, err := range s.Scan(bg, "") {
		ok(t, err)
	}
	_, err = s.Stats()
	ok(t, err)
	_, err = s.TryLock("locked")
	is(t, err, shiplap.ErrBusy)
	_, err = s.TryLock("free")
	is(t, err, shiplap.ErrBusy)
	ctl := s.obj.Ctl
	ok(t, s.Close())
	calls.Wait()
	for _, off := range locks {
		ctl.U32(off).Store(0) // the memory is there until the last Unlock
	}
	ok(t, l.Unlock())
	for name, f := range blocking(s) {
		if name == "Lock, another key" {
			continue
		}
		if err := f(bg); !errors.Is(err, shiplap.ErrClosed) {
			t.Errorf("%s: %v after Close", name, err)
		}
	}
	is(t, s.Close(), shiplap.ErrClosed)
}

// TestCloseDuringCalls: whoever is inside finishes, and nobody touches memory that is gone.
func TestCloseDuringCalls(t *testing.T) {
	d := domain(t)
	keep := create(t, d, &Options{MaxBytes: 1 << 20})
	for round := range 20 {
		s, err := Open(d, "s", nil)
		ok(t, err)
		begun := make(chan struct{}, 64)
		var calls sync.WaitGroup
		for i := range 4 {
			calls.Go(func() {
				for n := 0; ; n++ {
					key := fmt.Sprint("k", (n+i)%10)
					_, err := s.Get(key)
					if err == nil || errors.Is(err, shiplap.ErrNotExist) {
						_, err = s.Set(bg, key, []byte("value"), TTL(time.Duration(n%3)*time.Millisecond))
					}
					if err == nil {
						_, err = s.All(bg, "")
					}
					if err == nil {
						var l *KeyLock
						if l, err = s.Lock(bg, key); err == nil {
							err = l.Unlock()
						}
					}
					if err == nil {
						_, err = s.Stats()
					}
					if errors.Is(err, shiplap.ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					select {
					case begun <- struct{}{}:
					default:
					}
				}
			})
			calls.Go(func() {
				for _, err := range s.Watch(bg, "k*", &WatchOptions{Initial: true}) {
					if err != nil {
						is(t, err, shiplap.ErrClosed)
					}
				}
			})
		}
		for range 4 + round {
			<-begun
		}
		ok(t, s.Close())
		calls.Wait()
	}
	ok(t, keep.Check(bg))
}

// TestReadsAreCountedTogether: hits and misses of handles that were closed, and of those that read much, are in the statistics of others.
func TestReadsAreCountedTogether(t *testing.T) {
	d := domain(t)
	s := create(t, d, nil)
	_, err := s.Set(bg, "a", nil)
	ok(t, err)
	o, err := Open(d, "s", nil)
	ok(t, err)
	read := func(n int) {
		for range n {
			_, err := o.Get("a")
			ok(t, err)
			_, err = o.Get("b")
			is(t, err, shiplap.ErrNotExist)
		}
	}
	reads := func(least, most uint64) {
		t.Helper()
		st, err := s.Stats()
		ok(t, err)
		if st.Hits < least || st.Hits > most || st.Misses < least || st.Misses > most {
			t.Errorf("%d hits, %d misses; %d to %d are wanted", st.Hits, st.Misses, least, most)
		}
	}
	read(5000)
	reads(4096, 5000)
	ok(t, o.Close())
	reads(5000, 5000)
	_, err = s.Get("a")
	ok(t, err)
	_, _ = s.Get("b")
	reads(5001, 5001)
}

// TestSmallest: whatever MaxBytes is, there is a store, and it works to the brim.
func TestSmallest(t *testing.T) {
	d := domain(t)
	for _, opt := range []Options{{MaxBytes: 1}, {MaxBytes: 4096}, {MaxBytes: 40_000, Keys: 1, Locks: 1}, {MaxBytes: 100_001, Reserve: 1 << 30}} {
		o := opt
		o.Ephemeral = true
		s, err := Create(d, "small", &o)
		ok(t, err)
		n := 0
		for err == nil {
			_, err = s.Set(bg, fmt.Sprint(n), make([]byte, 100))
			n++
		}
		is(t, err, shiplap.ErrFull)
		st, err := s.Stats()
		ok(t, err)
		if n < 20 || st.MaxBytes%4096 != 0 || st.MaxBytes < opt.MaxBytes || st.Free > 4096 {
			t.Errorf("%+v: %d keys, %v", opt, n, st)
		}
		ok(t, s.Delete(bg, "0"), s.Clear(bg))
		_, err = s.Set(bg, "large", make([]byte, 8000))
		ok(t, err, s.Check(bg), s.Close())
	}
}

// endless is a file that has no lines.
type endless struct{ n int }

func (e *endless) Read(b []byte) (int, error) {
	e.n += len(b)
	return len(b), nil
}

func TestLoadOfNoDump(t *testing.T) {
	s := create(t, domain(t), &Options{MaxBytes: 64 << 10})
	var in endless
	_, err := s.Load(bg, &in)
	is(t, err, shiplap.ErrTooLarge)
	if in.n > 2<<20 {
		t.Errorf("%d bytes were read", in.n)
	}
}

// TestDumpOfAnything: a dump is the store, whatever bytes its keys and values have.
func TestDumpOfAnything(t *testing.T) {
	d := domain(t)
	s := create(t, d, nil)
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		b := make([]byte, rng.IntN(40))
		for i := range b {
			b[i] = byte(rng.Uint32() >> (rng.IntN(2) * 25)) // any, or ASCII
		}
		var opts []SetOption
		if rng.IntN(2) == 0 {
			opts = append(opts, TTL(time.Duration(1+rng.Int64N(1e18))))
		}
		opts = append(opts, Encoded(Format(rng.IntN(3))))
		n := rng.IntN(len(b) + 1)
		_, err := s.Set(bg, string(b[:n]), b[n:], opts...)
		ok(t, err)
	}
	for _, key := range []string{strings.Repeat("k", MaxKey), "\u2028\x00\ufffd\\\"", "\xed\xa0\x80"} {
		_, err := s.Set(bg, key, []byte(key))
		ok(t, err)
	}
	before, err := s.All(bg, "")
	ok(t, err)
	var out bytes.Buffer
	if n, err := s.Dump(bg, &out, ""); err != nil || n != len(before) {
		t.Fatal(n, err)
	}
	o, err := Create(d, "other", &Options{Ephemeral: true})
	ok(t, err)
	defer o.Close()
	if n, err := o.Load(bg, &out); err != nil || n != len(before) {
		t.Fatal(n, err)
	}
	after, err := o.All(bg, "")
	ok(t, err)
	for i, e := range before {
		e.Revision = after[i].Revision
		if fmt.Sprintf("%+v", e) != fmt.Sprintf("%+v", after[i]) {
			t.Fatalf("%+v became %+v", e, after[i])
		}
	}
}

// TestGetWhileTheMemoryGoes: who reads when the handle is closed gets the value or shiplap.ErrClosed, also when something else is mapped
// in the place of the store at that moment.
func TestGetWhileTheMemoryGoes(t *testing.T) {
	d := domain(t)
	opt := &Options{MaxBytes: 64 << 10}
	keep := create(t, d, opt)
	other, err := Create(d, "other", opt)
	ok(t, err)
	defer other.Close()
	for i := range 50 {
		key := fmt.Sprint("key", i)
		_, err := keep.Set(bg, key, []byte("value of "+key))
		ok(t, err)
		_, err = other.Set(bg, key, []byte("not the value"))
		ok(t, err)
	}
	const readers = 2
	for range 100 {
		s, err := Open(d, "s", nil)
		ok(t, err)
		var wg, reading sync.WaitGroup
		reading.Add(readers)
		for range readers {
			wg.Go(func() {
				begun := sync.OnceFunc(reading.Done)
				defer begun()
				var buf []byte
				for i := 0; ; i++ {
					key := fmt.Sprint("key", i%50)
					b, err := s.Append(buf[:0], key)
					if errors.Is(err, shiplap.ErrClosed) {
						return
					}
					if err != nil || string(b) != "value of "+key {
						t.Errorf("%s: %q, %v", key, b, err)
						return
					}
					if i == 50 {
						begun()
					}
				}
			})
		}
		reading.Wait()
		ok(t, s.Close())
		again, err := Open(d, "other", nil) // as a rule in the same place
		ok(t, err)
		wg.Wait()
		ok(t, again.Close())
	}
}
