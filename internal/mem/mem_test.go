package mem

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

func panics(f func()) (yes bool) {
	defer func() { yes = recover() != nil }()
	f()
	return
}

// memory is a file of whole pages, mapped.
func memory(t *testing.T, parts ...Part) (*os.File, *Region) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "memory"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	var size int64
	for _, p := range parts {
		size += int64(p.Len)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	r, err := Map(int(f.Fd()), parts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Unmap() })
	return f, r
}

func TestBounds(t *testing.T) {
	page := os.Getpagesize()
	_, mapped := memory(t, Part{Len: page}, Part{Len: page, Mirror: true})
	for name, s := range map[string]*Span{
		"heap":     NewHeap(Part{Len: page}).Span(0),
		"mapped":   mapped.Span(0),
		"mirrored": mapped.Span(1),
	} {
		t.Run(name, func(t *testing.T) {
			end := s.Len()
			if s.Mirrored() {
				end *= 2
			}
			for what, f := range map[string]func(){
				"u32 behind":      func() { s.U32(end) },
				"u32 before":      func() { s.U32(-4) },
				"u32 misaligned":  func() { s.U32(2) },
				"u64 behind":      func() { s.U64(end) },
				"u64 before":      func() { s.U64(-8) },
				"u64 misaligned":  func() { s.U64(4) },
				"bytes behind":    func() { s.Bytes(end-1, 2) },
				"bytes negative":  func() { s.Bytes(8, -1) },
				"bytes before":    func() { s.Bytes(-1, 1) },
				"bytes overflow":  func() { s.Bytes(8, 1<<62) },
				"copy in before":  func() { s.CopyIn(-1, []byte{1}) },
				"copy in twice":   func() { s.CopyIn(8, make([]byte, 3*s.Len())) },
				"copy out behind": func() { s.CopyOut(make([]byte, 3*s.Len()), 8) },
			} {
				if !panics(f) {
					t.Errorf("%s: no panic", what)
				}
			}
			b := s.Bytes(8, 8)
			if cap(b) != 8 {
				t.Errorf("a slice can grow to %d bytes", cap(b))
			}
			s.U32(end - 4).Store(1)
			s.U64(end - 8).Load()
		})
	}
}

func TestParts(t *testing.T) {
	f, _ := memory(t, Part{Len: os.Getpagesize()})
	for _, parts := range [][]Part{nil, {{Len: 0}}, {{Len: -4096}}, {{Len: 100}}, {{Len: 4096}, {Len: 1}}, {{Len: 1 << 50}}} {
		if r, err := Map(int(f.Fd()), parts...); err == nil {
			r.Unmap()
			t.Errorf("%v: mapped", parts)
		}
	}
	if _, err := Map(-1, Part{Len: 4096}); !errors.Is(err, unix.EBADF) {
		t.Errorf("a bad descriptor: %v", err)
	}
}

// A mirrored span is one stretch, at every offset, seen by others in the file where it belongs.
func TestMirror(t *testing.T) {
	page := os.Getpagesize()
	f, r := memory(t, Part{Len: page}, Part{Len: page, Mirror: true}, Part{Len: page})
	s := r.Span(1)
	heap := NewHeap(Part{Len: page}).Span(0)
	if !s.Mirrored() || heap.Mirrored() {
		t.Fatal("who is mirrored?")
	}
	file := make([]byte, page)
	for off := 0; off < page; off += 13 {
		msg := bytes.Repeat([]byte{byte(off), byte(off >> 8), 0x5a}, 300)
		s.CopyIn(off, msg)
		heap.CopyIn(off, msg)
		if !bytes.Equal(s.Bytes(off, len(msg)), msg) {
			t.Fatalf("at %d: a slice over the end differs", off)
		}
		for _, sp := range []*Span{s, heap} {
			back := make([]byte, len(msg))
			sp.CopyOut(back, off)
			if !bytes.Equal(back, msg) {
				t.Fatalf("at %d: copied out other bytes", off)
			}
		}
	}
	if _, err := f.ReadAt(file, int64(page)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file, heap.Bytes(0, page)) || !bytes.Equal(file, s.Bytes(0, page)) || !bytes.Equal(file, s.Bytes(page, page)) {
		t.Error("the file, the heap twin and the two views differ")
	}
	if !bytes.Equal(r.Span(0).Bytes(0, page), make([]byte, page)) || !bytes.Equal(r.Span(2).Bytes(0, page), make([]byte, page)) {
		t.Error("a neighbour was written to")
	}
}

func TestWords(t *testing.T) {
	s := NewHeap(Part{Len: 64}).Span(0)
	w, v := s.U32(4), s.U64(8)
	w.Store(5)
	if w.Load() != 5 || w.Swap(6) != 5 || w.CAS(5, 1) || !w.CAS(6, 7) || w.Add(3) != 10 || w.Or(1) != 10 || w.Load() != 11 {
		t.Error("u32")
	}
	w.StoreRelease(12)
	if w.Load() != 12 || *w.Ptr() != 12 || binary.NativeEndian.Uint32(s.Bytes(4, 4)) != 12 {
		t.Error("u32 in memory")
	}
	v.Store(5)
	if v.Load() != 5 || v.Swap(6) != 5 || v.CAS(5, 1) || !v.CAS(6, 1<<40) || v.Add(^uint64(0)) != 1<<40-1 {
		t.Error("u64")
	}
	v.StoreRelease(1 << 50)
	if v.Load() != 1<<50 || binary.NativeEndian.Uint64(s.Bytes(8, 8)) != 1<<50 {
		t.Error("u64 in memory")
	}
}

// touch reads the last byte of a span under a guard.
func touch(s *Span) (err error) {
	g := Protect()
	defer g.Recover(&err)
	_ = s.U32(s.Len() - 4).Load()
	g.Done = true
	return nil
}

func needsFaultAddress(t *testing.T) {
	if os.Getenv("SHIPLAP_EMULATED") != "" {
		t.Skip("the emulated processor does not tell the address of a fault")
	}
}

func TestGuardTruncation(t *testing.T) {
	needsFaultAddress(t)
	page := os.Getpagesize()
	f, r := memory(t, Part{Len: 2 * page})
	s := r.Span(0)
	if err := touch(s); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(int64(page)); err != nil {
		t.Fatal(err)
	}
	if err := touch(s); !errors.Is(err, errs.ErrCorrupt) {
		t.Errorf("load: %v", err)
	}
	for what, f := range map[string]func(){
		"store":   func() { s.U64(page).Store(1) },
		"cas":     func() { s.U32(page).CAS(0, 1) },
		"copyin":  func() { s.CopyIn(page-8, make([]byte, 64)) },
		"copyout": func() { s.CopyOut(make([]byte, 64), page-8) },
		"bytes":   func() { clear(s.Bytes(page-8, 64)) },
	} {
		err := func() (err error) {
			g := Protect()
			defer g.Recover(&err)
			f()
			return nil
		}()
		if !errors.Is(err, errs.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// The rest stays usable.
	s.U64(0).Store(1)
}

func TestGuardNested(t *testing.T) {
	needsFaultAddress(t)
	page := os.Getpagesize()
	f, r := memory(t, Part{Len: page})
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	outer := func() (err error) {
		g := Protect()
		defer g.Recover(&err)
		if err := touch(r.Span(0)); !errors.Is(err, errs.ErrCorrupt) {
			t.Errorf("inner: %v", err)
		}
		// The inner one must not have switched our protection off.
		_ = r.Span(0).U32(0).Load()
		g.Done = true
		return nil
	}()
	if !errors.Is(outer, errs.ErrCorrupt) {
		t.Errorf("outer: %v", outer)
	}
	if debug.SetPanicOnFault(false) {
		t.Error("faults are panics after the guard")
	}
}

// What is not a fault in a mapping goes on as it was: a bug must not look like a corruption.
func TestGuardForeign(t *testing.T) {
	nilDeref := func() { var p *int; *p = 1 }
	for what, f := range map[string]func(){
		"nil":      nilDeref,
		"index":    func() { _ = make([]int, 1)[len(os.Args)+5] },
		"explicit": func() { panic("bug") },
	} {
		var err error
		if !panics(func() {
			g := Protect()
			defer g.Recover(&err)
			f()
		}) || err != nil {
			t.Errorf("%s: swallowed as %v", what, err)
		}
	}
	if FaultError("x") != nil || FaultError(nil) != nil {
		t.Error("FaultError takes anything")
	}
}

// A fault behind Unmap is not ours any more.
func TestUnmapTwice(t *testing.T) {
	_, r := memory(t, Part{Len: os.Getpagesize()})
	addr := r.base
	if !isMapped(reflect.ValueOf(addr).Pointer()) {
		t.Error("not known as mapped")
	}
	if err := errors.Join(r.Unmap(), r.Unmap()); err != nil {
		t.Error(err)
	}
	if isMapped(reflect.ValueOf(addr).Pointer()) {
		t.Error("still known as mapped")
	}
}

func TestAsBytes(t *testing.T) {
	v := struct {
		A uint32
		B [3]uint16
		C uint8
	}{1, [3]uint16{2, 3, 4}, 5}
	b := AsBytes(&v)
	if len(b) != 12 {
		t.Fatalf("%d bytes", len(b))
	}
	b[0] = 9
	if v.A != 9 && v.A != 9<<24 {
		t.Error("the bytes are not the value's")
	}
	if len(AsBytes(&struct{}{})) != 0 {
		t.Error("nothing has bytes")
	}
}

// A message handed over through StoreRelease and Load is whole, also for the race detector.
func TestReleaseAcquire(t *testing.T) {
	s := NewHeap(Part{Len: 128}).Span(0)
	const n = 2000
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := uint64(1); i <= n; i++ {
			for s.U64(8).Load() != i-1 {
				Pause(1)
			}
			s.CopyIn(64, bytes.Repeat([]byte{byte(i)}, 32))
			s.U64(0).StoreRelease(i)
		}
	})
	wg.Go(func() {
		b := make([]byte, 32)
		for i := uint64(1); i <= n; i++ {
			for s.U64(0).Load() != i {
				Pause(1)
			}
			s.CopyOut(b, 64)
			if !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, 32)) {
				t.Errorf("message %d is torn", i)
			}
			s.U64(8).StoreRelease(i)
		}
	})
	wg.Wait()
}

// Dekker's test: of two who announce themselves and then look, at least one sees the other. The
// frequent side has no fence of its own (barrier.go).
func TestHeavyPairs(t *testing.T) {
	_, r := memory(t, Part{Len: os.Getpagesize()}) // sets the scheme up
	s := r.Span(0)
	const rounds = 3000
	for i := range rounds {
		s.U32(0).Store(0)
		s.U32(128).Store(0)
		var a, b uint32
		var start, wg sync.WaitGroup
		start.Add(1)
		wg.Go(func() { start.Wait(); s.U32(0).StoreRelease(1); a = s.U32(128).Load() })
		wg.Go(func() { start.Wait(); s.U32(128).StoreRelease(1); Heavy(); b = s.U32(0).Load() })
		start.Done()
		wg.Wait()
		if a == 0 && b == 0 {
			t.Fatalf("round %d of %d: neither saw the other (asymmetric: %v)", i, rounds, asymmetric.Load())
		}
	}
}

func TestPauseTime(t *testing.T) {
	if d := PauseTime(); d <= 0 || d > 1e6 {
		t.Errorf("a pause of %v", d)
	}
}
