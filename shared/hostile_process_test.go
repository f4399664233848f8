package shared_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/shared"
)

func at(off int64, words ...uint64) func(*os.File) error {
	var b []byte
	for _, w := range words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return func(f *os.File) error { _, err := f.WriteAt(b, off); return err }
}

func text(off int64, s string) func(*os.File) error {
	return func(f *os.File) error { _, err := f.WriteAt([]byte(s), off); return err }
}

func truncated(n int64) func(*os.File) error {
	return func(f *os.File) error { return f.Truncate(n) }
}

// What cannot be opened says why.
func TestDamagedFiles(t *testing.T) {
	const huge = 1<<64 - 1
	corrupt, incompatible := shiplap.ErrCorrupt, shiplap.ErrIncompatible
	for _, tt := range []struct {
		kind, name string
		harm       func(*os.File) error
		want       error
	}{
		{"value", "descriptor", text(2048, "????????"), corrupt},
		{"value", "another descriptor", text(2048, "fixed:{A:<u8@0"), corrupt},
		{"value", "hash", at(48, 1), corrupt},
		{"value", "param", at(64, 2), incompatible},
		{"value", "truncated", truncated(4096), corrupt},
		{"value", "longer", truncated(1 << 20), corrupt},
		{"array", "no dimensions", at(64, 1<<16|1<<48), corrupt},
		{"array", "many dimensions", at(64, 8|1<<16|1<<48), corrupt},
		{"array", "no frames", at(64, 2|1<<48), corrupt},
		{"array", "other frames", at(64, 2|2<<16|1<<48), corrupt},
		{"array", "many frames", at(64, 2|(1<<32-1)<<16|1<<48), corrupt},
		{"array", "unknown flags", at(64, 2|1<<16|1<<49), incompatible},
		{"array", "all ones", at(64, huge, huge, huge, huge, huge, huge, huge, huge), incompatible},
		{"array", "no elements", at(72, 0), corrupt},
		{"array", "more elements", at(72, 1<<20), corrupt},
		{"array", "huge dimension", at(72, huge), corrupt},
		{"array", "overflow", at(72, 1<<33, 1<<33), corrupt},
		{"array", "negative", at(72, 1<<63), corrupt},
		{"array", "other type", text(2048, "fixed:<i4"), corrupt},
		{"array", "truncated", truncated(8192), corrupt},
		{"array", "empty", truncated(0), corrupt},
	} {
		t.Run(tt.kind+" "+tt.name, func(t *testing.T) {
			d := domain(t)
			open := func() (closer, error) { return shared.OpenRawValue(d, "x") }
			if tt.kind == "value" {
				ok(t, value(t, d, "x", blockOf(1)).Close())
			} else {
				ok(t, array[int64](t, d, "x", nil, 20, 30).Close())
				open = func() (closer, error) { return shared.OpenRawArray(d, "x") }
			}
			f, err := os.OpenFile(filepath.Join(d.Dir(), "x"), os.O_RDWR, 0)
			ok(t, err)
			defer f.Close()
			ok(t, tt.harm(f))
			c, err := open()
			is(t, "open", err, tt.want)
			if err == nil {
				c.Close()
			}
			_, err = d.List()
			ok(t, err)
			ok(t, d.Remove(bg, "x"))
		})
	}
}

// What is damaged while it is open is an error of the call.
func TestDamagedUnderUse(t *testing.T) {
	d := domain(t)
	b, v, w := value(t, d, "bool", true), value(t, d, "block", blockOf(1)), value(t, d, "word", 1)
	a := array[bool](t, d, "bools", nil, 3)
	f := array[bool](t, d, "frames", &shared.ArrayOptions{Frames: 2}, 3)
	ok(t, second(f.Publish(bg, func([]bool) error { return nil })))
	harm := func(name string, f func(*os.File) error) {
		t.Helper()
		file, err := os.OpenFile(filepath.Join(d.Dir(), name), os.O_RDWR, 0)
		ok(t, err)
		ok(t, f(file))
		ok(t, file.Close())
	}
	harm("bool", at(4352, 2))
	harm("block", at(4608+64, 0, 0, 0, 0, 0, 0, 3)) // slot 1
	harm("bools", text(8192+1, "\x02"))
	harm("frames", text(8192+4096+2, "\x02"))
	ok(t, v.Store(bg, blockOf(2)))
	harm("block", text(4608+64+int64(8+8+24+16), "\x07"))
	dst := make([]bool, 3)
	pin, err := a.Pin()
	ok(t, err)
	defer pin.Release()
	for name, err := range map[string]error{
		"bool": second(b.Load()), "bool update": second(b.Update(bg, func(*bool) error { return nil })),
		"block": second(v.Load()), "block update": second(v.Update(bg, func(*block) error { return nil })),
		"wait": second(v.WaitUntil(bg, func(block) bool { return true })),
		"at":   second(a.At(1)), "snapshot": a.Snapshot(bg, dst), "copy": pin.CopyTo(dst), "latest": second(f.Latest(dst)),
	} {
		is(t, name, err, shiplap.ErrCorrupt)
	}
	if dst != nil && (dst[0] || dst[1] || dst[2]) {
		t.Error("something came out")
	}
	ok(t, b.Store(bg, false)) // which repairs it
	ok(t, second(b.Load()))
	ok(t, v.Store(bg, blockOf(3)))
	ok(t, second(v.Load()))
	ok(t, second(f.Publish(bg, func(b []bool) error { clear(b); return nil })))
	ok(t, second(f.Latest(dst)))

	harm("frames", at(4352, 1<<63))
	is(t, "version", second(f.Latest(dst)), shiplap.ErrCorrupt)
	is(t, "version", second(f.Publish(bg, func([]bool) error { return nil })), shiplap.ErrCorrupt)
	is(t, "version", second(f.Watch(bg, 7)), shiplap.ErrCorrupt)
	is(t, "version", f.View(func([]bool, uint64) error { return nil }), shiplap.ErrCorrupt)
	harm("block", at(4352, 1<<64-1))
	is(t, "version", second(v.Load()), shiplap.ErrCorrupt)
	is(t, "version", v.Store(bg, blockOf(3)), shiplap.ErrCorrupt)
	harm("word", at(4096, 1<<30|5)) // a writer lock of somebody who never was
	ok(t, second(w.Update(soon(t), func(n *int) error { *n = 3; return nil })))
}

func TestTruncatedUnderUse(t *testing.T) {
	if !mem.FaultsPanic {
		t.Skip("the race detector does atomic operations in C, where a fault ends the process")
	}
	for _, size := range []int64{0, 4096, 8192} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			d := domain(t)
			v, large := value(t, d, "v", 1), value(t, d, "large", [1000]int{})
			a := array[int](t, d, "a", nil, 5000)
			f := array[int](t, d, "f", &shared.ArrayOptions{Frames: 2}, 5000)
			ok(t, second(f.Publish(bg, filled(1))))
			word, err := shared.Pin(v)
			ok(t, err)
			defer word.Release()
			view, err := a.Pin()
			ok(t, err)
			defer view.Release()
			for _, name := range []string{"v", "large", "a", "f"} {
				ok(t, os.Truncate(filepath.Join(d.Dir(), name), min(size, map[string]int64{"v": 4096}[name]+size)))
			}
			dst := make([]int, 5000)
			all := map[string]error{
				"store large": large.Store(bg, [1000]int{}), "load large": second(large.Load()), "swap large": second(large.Swap(bg, [1000]int{})),
				"at": second(a.At(4999)), "set": a.Set(1, 4999), "snapshot": a.Snapshot(bg, dst), "replace": a.Replace(bg, dst),
				"copy to": view.CopyTo(dst), "copy from": view.CopyFrom(dst), "fill": view.Fill(1),
				"in place": shared.Protect(func() error { view.Set(1, 1); return nil }),
				"latest":   second(f.Latest(dst)), "publish": second(f.Publish(bg, filled(1))),
				"view": f.View(func(f []int, _ uint64) error { return second(same(f)) }),
			}
			if size < 8192 {
				all["load"], all["store"], all["add"] = second(v.Load()), v.Store(bg, 1), second(shared.Add(v, 1))
				all["update"], all["lock"], all["stats"] = second(v.Update(bg, func(*int) error { return nil })), v.Lock(bg), second(v.Stats())
				all["wait"] = second(v.WaitUntil(bg, func(int) bool { return false }))
				all["word"] = shared.Protect(func() error { word.Add(1); return nil })
				all["wake"] = word.Wake()
			}
			for name, err := range all {
				is(t, name, err, shiplap.ErrCorrupt)
			}
		})
	}
}

// Beside a process that writes random words into everything, honest users get errors or rubbish; they do not crash, and
// every call ends.
func TestScribbler(t *testing.T) {
	spell := 1500
	if testing.Short() {
		spell = 300
	}
	d := domain(t)
	word, boolean, large := value(t, d, "word", 1), value(t, d, "bool", true), value(t, d, "large", [300]block{})
	frames := array[int](t, d, "frames", &shared.ArrayOptions{Frames: 3}, 500)
	plain := array[bool](t, d, "plain", nil, 500)
	p := peertest.Start(t, d, "scribble", spell)
	p.Says("going")
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	calls, refused := 0, 0
	for _, honest := range []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := shared.Add(word, 1)
			return errors.Join(err, second(word.Update(ctx, func(n *int) error { *n++; return nil })), second(boolean.Load()),
				second(word.WaitUntil(ctx, func(int) bool { return false })))
		},
		func(ctx context.Context) error {
			_, err := large.Load()
			return errors.Join(err, large.Store(ctx, [300]block{}), second(large.CompareAndSwap(ctx, [300]block{}, [300]block{0: blockOf(1)})))
		},
		func(ctx context.Context) error {
			_, err := frames.Publish(ctx, filled(1))
			return errors.Join(err, second(frames.Watch(ctx, 1<<40)))
		},
		func(ctx context.Context) error {
			return errors.Join(second(frames.Latest(make([]int, 500))), frames.View(func(f []int, _ uint64) error { return second(same(f)) }))
		},
		func(ctx context.Context) error {
			err := plain.Lock(ctx)
			if err == nil || errors.Is(err, shiplap.ErrOwnerDied) {
				err = errors.Join(err, plain.Unlock())
			}
			return errors.Join(err, plain.Snapshot(ctx, make([]bool, 500)), plain.Replace(ctx, make([]bool, 500)))
		},
	} {
		wg.Go(func() {
			for ctx.Err() == nil {
				ctx, cancel := context.WithTimeout(ctx, 2*time.Millisecond)
				err := honest(ctx)
				cancel()
				mu.Lock()
				calls++
				if errors.Is(err, shiplap.ErrCorrupt) {
					refused++
				}
				mu.Unlock()
			}
		})
	}
	p.Ends()
	cancel()
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("a call does not end")
	}
	t.Logf("%d rounds, %d found the damage", calls, refused)
}

// FuzzHeader opens what it is given as params and descriptor of an array: an error, or an array whose parts can be used.
func FuzzHeader(f *testing.F) {
	f.Add(uint64(2|1<<16|1<<48), uint64(3), uint64(4), uint64(0), "fixed:<i4")
	f.Add(uint64(1|2<<16), uint64(1000), uint64(0), uint64(0), "fixed:{a:|b1@0;size=1,align=1}")
	f.Add(uint64(7|1<<16), uint64(1<<63), uint64(1<<63), uint64(1<<63), "cbor:i8")
	d := domain(f)
	f.Fuzz(func(t *testing.T, p0, p1, p2, p3 uint64, desc string) {
		if len(desc) > 2048 {
			return
		}
		a, err := shared.CreateRawArray(d, "a", "fixed:<i4", []int{3, 4}, nil)
		ok(t, err)
		ok(t, a.Close())
		defer d.Remove(bg, "a")
		file, err := os.OpenFile(filepath.Join(d.Dir(), "a"), os.O_RDWR, 0)
		ok(t, err)
		defer file.Close()
		ok(t, at(64, p0, p1, p2, p3, p1, p2, p3, p1)(file))
		if desc != "fixed:<i4" {
			ok(t, errors.Join(text(2048, desc)(file), at(56, uint64(len(desc)))(file)))
			ok(t, at(48, hashOf(desc))(file))
		}
		a, err = shared.OpenRawArray(d, "a")
		if err != nil {
			if !errors.Is(err, shiplap.ErrCorrupt) && !errors.Is(err, shiplap.ErrIncompatible) {
				t.Error(err)
			}
			return
		}
		defer a.Close()
		if a.FrameCount() > 1 {
			_, err = a.Publish(bg, func(b []byte) error { clear(b); return nil })
			ok(t, errors.Join(err, second(a.Latest(make([]byte, a.Size())))))
			return
		}
		b := bytes.Repeat([]byte{1}, a.Size())
		ok(t, a.Replace(bg, b))
		if n, err := a.ReadAt(b, 0); n != len(b) || err != nil {
			t.Error(n, err)
		}
	})
}
