package lock

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/object"
)

// honest are a few calls of every kind, on the object "x".
func honest(ctx context.Context, h any) error {
	brief := func() context.Context {
		c, cancel := context.WithTimeout(ctx, 2*time.Millisecond)
		context.AfterFunc(c, cancel)
		return c
	}
	then := func(err error, next func() error) error {
		if err == nil || errors.Is(err, shiplap.ErrOwnerDied) {
			return errors.Join(err, next())
		}
		return err
	}
	two := func(_ any, err error) error { return err }
	switch h := h.(type) {
	case *Mutex:
		return errors.Join(then(h.Lock(brief()), func() error { return errors.Join(h.MarkSince(), h.Repaired(), h.Unlock()) }),
			then(h.TryLock(), h.Unlock), two(h.Stats()))
	case *RWMutex:
		return errors.Join(then(h.RLock(brief()), h.RUnlock), then(h.Lock(brief()), func() error { return errors.Join(h.Repaired(), h.Unlock()) }),
			then(h.TryLock(), h.Unlock), then(h.TryRLock(), h.RUnlock), two(h.Stats()))
	case *Semaphore:
		return errors.Join(then(h.Acquire(brief(), 2), func() error { return h.Release(2) }), then(h.TryAcquire(1), func() error { return h.Release(1) }), two(h.Stats()))
	case *Event:
		return errors.Join(h.Wait(brief()), h.Set(), two(h.IsSet()), h.Clear(), two(h.Stats()))
	case *Cond:
		return errors.Join(h.Signal(), h.Broadcast(), two(h.Stats()))
	case *Barrier:
		return errors.Join(two(h.Wait(brief())), h.Abort(), h.Reset(brief()), two(h.Stats()))
	}
	panic(h)
}

// nasty are values that mean something.
func nasty(d *shiplap.Domain, r *rand.Rand) uint64 {
	self := uint64(object.OfDomain(d).Table.Self())
	all := []uint64{0, 1, 2, ^uint64(0), 1 << 31, 1 << 32, 1<<31 - 1, self, self | 1<<31, self<<32 | self, deadToken, deadToken | 1<<31,
		deadToken | 1<<32, self | 0xffffffff<<32, 0xffff0000ffff0000, 1<<31 | 1, 1<<32 - 1}
	if r.IntN(3) == 0 {
		return r.Uint64()
	}
	return all[r.IntN(len(all))]
}

// heal ends what a lie keeps waiting: a call without a context that waits for a lock that somebody alive seems to hold.
func heal(f *os.File) error {
	_, err := f.WriteAt(make([]byte, 4096), object.HeaderSize)
	return err
}

// TestScribbler: beside one who writes lies into the object, calls return something and end.
func TestScribbler(t *testing.T) {
	spell := 500 * time.Millisecond
	if testing.Short() {
		spell = 100 * time.Millisecond
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			d := join(t)
			h := must(k.create(d))(t)
			f, err := os.OpenFile(filepath.Join(d.Dir(), "x"), os.O_RDWR, 0)
			ok(t, err)
			defer f.Close()
			ctx, cancel := context.WithCancel(bg)
			var wg sync.WaitGroup
			var mu sync.Mutex
			results := map[string]int{}
			for range 4 {
				mine := must(k.open(d))(t)
				wg.Go(func() {
					defer mine.Close()
					for ctx.Err() == nil {
						err := honest(ctx, mine)
						mu.Lock()
						for _, e := range []error{shiplap.ErrCorrupt, shiplap.ErrBusy, shiplap.ErrOwnerDied, shiplap.ErrRemoved, context.DeadlineExceeded, nil} {
							if errors.Is(err, e) {
								results[fmt.Sprint(e)]++
							}
						}
						mu.Unlock()
					}
				})
			}
			r := rand.New(rand.NewPCG(1, 2))
			st, err := f.Stat()
			ok(t, err)
			for end := time.Now().Add(spell); time.Now().Before(end); {
				at := object.HeaderSize + 8*r.Int64N(96)
				switch r.IntN(8) {
				case 0:
					at = 8 * r.Int64N(st.Size()/8)
				case 1:
					at = 8192 + 8*r.Int64N(128)
				}
				if at == 128 || at >= st.Size() { // the state word: it would be removed
					continue
				}
				_, err := f.WriteAt(binary.LittleEndian.AppendUint64(nil, nasty(d, r)), at)
				ok(t, err)
				if r.IntN(20) == 0 {
					runtime.Gosched()
				}
			}
			cancel()
			ended := make(chan struct{})
			go func() { wg.Wait(); close(ended) }()
			for begin := time.Now(); ; {
				ok(t, heal(f))
				select {
				case <-ended:
				case <-time.After(50 * time.Millisecond):
					if time.Since(begin) > 10*time.Second {
						t.Fatal("a call does not end")
					}
					continue
				}
				break
			}
			t.Logf("%v", results)
			h.Close()
		})
	}
}

// TestDamagedFiles: what cannot be opened says why.
func TestDamagedFiles(t *testing.T) {
	le := binary.LittleEndian
	at := func(v uint64, off int64) func(f *os.File) error {
		return func(f *os.File) error { _, err := f.WriteAt(le.AppendUint64(nil, v), off); return err }
	}
	cut := func(n int64) func(f *os.File) error { return func(f *os.File) error { return f.Truncate(n) } }
	for _, k := range kinds {
		d := join(t)
		for _, c := range []struct {
			name string
			harm func(f *os.File) error
			want error
			only string
		}{
			{"magic", at(1, 0), shiplap.ErrCorrupt, ""},
			{"size", at(12345, 16), shiplap.ErrCorrupt, ""},
			{"empty", cut(0), shiplap.ErrCorrupt, ""},
			{"in the header", cut(100), shiplap.ErrCorrupt, ""},
			{"header only", cut(4096), shiplap.ErrCorrupt, ""},
			{"longer", cut(1 << 20), shiplap.ErrCorrupt, ""},
			{"number of locks", at(1000, 512), shiplap.ErrCorrupt, ""},
			{"no permits", at(0, 64), shiplap.ErrCorrupt, "semaphore"},
			{"too many permits", at(1<<31, 64), shiplap.ErrCorrupt, "semaphore"},
			{"ownership", at(2, 72), shiplap.ErrCorrupt, "semaphore"},
			{"no parties", at(0, 64), shiplap.ErrCorrupt, "barrier"},
			{"too many parties", at(1<<16, 64), shiplap.ErrCorrupt, "barrier"},
			{"size and file shorter", func(f *os.File) error { return errors.Join(cut(4096)(f), at(4096, 16)(f)) }, shiplap.ErrCorrupt, ""},
		} {
			if c.only != "" && c.only != k.name {
				continue
			}
			ok(t, must(k.create(d))(t).Close())
			path := filepath.Join(d.Dir(), "x")
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			ok(t, err, c.harm(f), f.Close())
			if _, err := k.open(d); !errors.Is(err, c.want) {
				t.Errorf("%s, %s: %v", k.name, c.name, err)
			}
			ok(t, d.Remove(bg, "x"))
		}
		// And under use.
		h := must(k.create(d))(t)
		truncate(t, d, "x", 0)
		if err := honest(bg, h); !errors.Is(err, shiplap.ErrCorrupt) {
			t.Errorf("%s, truncated: %v", k.name, err)
		}
		ok(t, h.Close(), d.Remove(bg, "x"))
	}
}

// FuzzControl opens every kind over control words, and the beginning of a table, that somebody made up.
func FuzzControl(f *testing.F) {
	word := func(at int, v uint64, more ...byte) []byte {
		b := make([]byte, at+8, at+8+len(more))
		binary.LittleEndian.PutUint64(b[at:], v)
		return append(b, more...)
	}
	for _, v := range []uint64{0, 1, ^uint64(0), 1 << 31, deadToken, deadToken | 1<<63, 1<<31 | 1, 0xffff_fffe_0000_0002} {
		for _, at := range []int{0, 24, 64, 128, 152, 192, 256, 320, 384, 512} {
			f.Add(word(at, v), []byte{})
		}
	}
	f.Add(word(256, 1), word(0, deadToken|7<<32))
	f.Add(word(384, ^uint64(0)), word(0, ^uint64(0)))
	d, err := shiplap.Join(fmt.Sprint("fuzz", os.Getpid()), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { d.Close() })
	f.Fuzz(func(t *testing.T, control, table []byte) {
		for _, k := range kinds {
			h := must(k.create(d))(t)
			file, err := os.OpenFile(filepath.Join(d.Dir(), "x"), os.O_RDWR, 0)
			ok(t, err)
			_, err = file.WriteAt(control[:min(len(control), 4096)], object.HeaderSize)
			ok(t, err)
			if st := must(file.Stat())(t); st.Size() > 8192 {
				_, err = file.WriteAt(table[:min(len(table), int(st.Size()-8192))], 8192)
				ok(t, err)
			}
			again := must(k.open(d))(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = honest(bg, again)
				_ = honest(bg, h)
			}()
			for n := 0; ; n++ {
				select {
				case <-done:
				case <-time.After(10 * time.Millisecond):
					if n > 1000 {
						t.Fatalf("%s: a call does not end", k.name)
					}
					ok(t, heal(file))
					continue
				}
				break
			}
			ok(t, again.Close(), h.Close(), file.Close(), d.Remove(bg, "x"))
		}
	})
}
