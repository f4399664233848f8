package queue_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/queue"
)

// TestDamagedFiles: what cannot be opened says why.
func TestDamagedFiles(t *testing.T) {
	u32 := func(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
	for _, c := range []struct {
		name string
		harm func(f *os.File) error
		want error
	}{
		{"magic", at([]byte("NOTHING!"), 0), shiplap.ErrCorrupt},
		{"layout version", at(u32(99), 8), shiplap.ErrIncompatible},
		{"kind", at(u32(2), 12), shiplap.ErrIncompatible},
		{"unknown kind", at(u32(77), 12), shiplap.ErrIncompatible},
		{"size", at(u32(77), 16), shiplap.ErrCorrupt},
		{"unknown flags", at(u32(1<<30), 24), shiplap.ErrIncompatible},
		{"length of the descriptor", at(u32(1<<31), 56), shiplap.ErrCorrupt},
		{"descriptor", at([]byte("????????"), 2048), shiplap.ErrCorrupt},
		{"hash of the descriptor", at(u32(1), 48), shiplap.ErrCorrupt},
		{"area not a power of two", at(u32(5000), 64), shiplap.ErrCorrupt},
		{"area larger than the file", at(u32(1<<20), 64), shiplap.ErrCorrupt},
		{"unknown mode", at(u32(9), 72), shiplap.ErrIncompatible},
		{"locks", at(u32(1000), 512), shiplap.ErrCorrupt},
		{"place of a lock", at(u32(1<<30), 544), shiplap.ErrCorrupt},
		{"events", at(u32(1000), 1024), shiplap.ErrCorrupt},
		{"truncated", func(f *os.File) error { return f.Truncate(8192) }, shiplap.ErrCorrupt},
		{"truncated in the header", func(f *os.File) error { return f.Truncate(100) }, shiplap.ErrCorrupt},
		{"empty", func(f *os.File) error { return f.Truncate(0) }, shiplap.ErrCorrupt},
		{"longer", func(f *os.File) error { return f.Truncate(1 << 20) }, shiplap.ErrCorrupt},
		{"zeros", at(make([]byte, 4096), 0), shiplap.ErrCorrupt},
		{"ones", at(bytes.Repeat([]byte{0xff}, 4096), 0), shiplap.ErrCorrupt},
		{"world-writable", func(f *os.File) error { return f.Chmod(0o666) }, os.ErrPermission},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := join(t, shmDir(t))
			q, err := queue.Create[int64](d, "q", &queue.Options{Capacity: 4096})
			ok(t, err)
			ok(t, q.Close())
			f, err := os.OpenFile(filepath.Join(d.Dir(), "q"), os.O_RDWR, 0)
			ok(t, err)
			defer f.Close()
			ok(t, c.harm(f))
			q, err = queue.Open[int64](d, "q", nil)
			is(t, "open", err, c.want)
			if err == nil {
				q.Close()
			}
			_, err = d.List()
			ok(t, err)
			if c.want != os.ErrPermission {
				ok(t, d.Remove(bg, "q"))
			}
		})
	}
}

func at(b []byte, off int64) func(f *os.File) error {
	return func(f *os.File) error { _, err := f.WriteAt(b, off); return err }
}

// TestTruncatedUnderUse: producers and consumers of a file that somebody truncates get ErrCorrupt.
func TestTruncatedUnderUse(t *testing.T) {
	if !mem.FaultsPanic {
		t.Skip("the race detector does atomic operations in C, where a fault ends the process")
	}
	for _, size := range []int64{0, 4096, 8192, 8192 + 4096} {
		for _, ack := range []bool{false, true} {
			d, q := raw(t, &queue.Options{Capacity: 1 << 16, Ack: ack})
			ctx, cancel := context.WithTimeout(bg, 2*time.Second)
			var wg sync.WaitGroup
			errs := make(chan error, 2)
			wg.Go(func() {
				for {
					if err := q.Put(ctx, message(1, 1000)); err != nil {
						errs <- err
						return
					}
				}
			})
			wg.Go(func() {
				for {
					if _, err := q.Get(ctx, nil); err != nil {
						errs <- err
						return
					}
				}
			})
			time.Sleep(10 * time.Millisecond)
			ok(t, os.Truncate(filepath.Join(d.Dir(), "q"), size))
			waits := 0
			for range 2 {
				err := <-errs
				if size >= 8192 && err == context.DeadlineExceeded {
					waits++ // what it waits for is there, and the other does nothing any more
					continue
				}
				if !errors.Is(err, shiplap.ErrCorrupt) {
					t.Errorf("truncated to %d, ack %v: %v", size, ack, err)
				}
			}
			if waits > 1 {
				t.Errorf("truncated to %d, ack %v: nobody saw it", size, ack)
			}
			cancel()
			wg.Wait()
			if err := q.Close(); err != nil && !errors.Is(err, shiplap.ErrCorrupt) {
				t.Error(err)
			}
		}
	}
}

// TestScribbler: beside a process that writes random words into the queue, honest users get errors or rubbish; they
// do not crash, and every call ends.
func TestScribbler(t *testing.T) {
	spell := 2000
	if testing.Short() {
		spell = 300
	}
	for _, ack := range []bool{false, true} {
		d, q := raw(t, &queue.Options{Capacity: 8192, Ack: ack})
		p := peertest.Start(t, d, "scribble", spell)
		p.Says("going")
		ctx, cancel := context.WithCancel(bg)
		var wg sync.WaitGroup
		var mu sync.Mutex
		calls, refused := 0, 0
		for n := range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					err := honest(ctx, q, n)
					mu.Lock()
					calls++
					if errors.Is(err, shiplap.ErrCorrupt) {
						refused++
					}
					mu.Unlock()
				}
			})
		}
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
		cancel()
		ended := make(chan struct{})
		go func() { wg.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatal("a call does not end")
		}
		t.Logf("ack %v: %d calls, %d found the damage", ack, calls, refused)
		q.Close()
	}
}

func honest(ctx context.Context, q *queue.Raw, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Millisecond)
	defer cancel()
	switch n {
	case 0:
		return q.Put(ctx, message(1, rand.IntN(500)+8))
	case 1:
		if q.Ack() {
			d, err := q.Receive(ctx)
			if err == nil {
				err = d.Ack()
			}
			return err
		}
		_, err := q.Get(ctx, nil)
		return err
	case 2:
		_, err := q.Stats()
		return err
	}
	p, err := q.Producer(ctx)
	if err != nil {
		return err
	}
	err = p.Put(ctx, message(2, 100))
	return errors.Join(err, p.Close())
}
