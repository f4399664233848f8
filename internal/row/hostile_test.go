package row

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// everything runs each operation once on whatever the memory holds. It may fail, it must end.
func everything(w *world) (errors []error) {
	ctx, cancel := context.WithTimeout(bg, 2*time.Millisecond)
	defer cancel()
	add := func(err error) { errors = append(errors, err) }
	note := func(b []byte) error { return nil }
	r := w.open(1)
	_, err := r.Stats()
	add(err)
	_ = r.Empty()
	everyEnvelope(ctx, r, add)
	if w.ack {
		for range 3 {
			ls, err := r.TryLease()
			add(err)
			if err == nil {
				_ = r.Body(ls)
				add(r.Settle(ls, ls.Count%2 == 0))
			}
		}
		_, err = r.Lease(ctx)
		add(err)
	} else {
		_, err = r.TryGet(nil)
		add(err)
		_, err = r.Get(ctx, nil)
		add(err)
		_, err = r.GetMany(ctx, 100, note)
		add(err)
	}
	add(r.TryPut(make([]byte, 100)))
	add(r.PutWith(ctx, make([]byte, 16), make([]byte, 30)))
	add(r.Put(ctx, make([]byte, 3000)))
	_, err = r.PutMany(ctx, [][]byte{nil, make([]byte, 9), make([]byte, 500)})
	add(err)
	if ok, _ := r.ProducerLock.TryLock(); ok {
		var p Producer
		add(p.Resume(&r.Row))
		if b, err := p.Reserve(700); err == nil {
			p.AddReserved(b, 600)
			add(p.Commit())
		}
		r.ProducerLock.Unlock()
	}
	if ok, _ := r.ConsumerLock.TryLock(); ok && !w.ack {
		var c Consumer
		if err := c.Resume(r); err == nil {
			_, err = c.TryGet(nil)
			add(err)
			_, err = c.Read(make([]byte, 50))
			add(err)
			_, err = c.Get(ctx, nil)
			add(err)
		}
		r.ConsumerLock.Unlock()
	}
	r.Close()
	add(r.Drained(r.taken.Load()))
	_, err = r.Stats()
	add(err)
	return errors
}

// ends panics, to show all stacks, if everything does not end.
func ends(w *world, what string) {
	t := time.AfterFunc(10*time.Second, func() { panic("no end: " + what) })
	defer t.Stop()
	everything(w)
}

func TestHostileWords(t *testing.T) {
	values := []uint64{0, 1, 7, 8, 4096, 4104, 1 << 32, 1<<32 | 4080, 1<<32 | 4096, 1<<33 - 1, 1 << 63, 1<<64 - 1, 1<<64 - 8, 1<<64 - 4096}
	for _, ack := range []bool{false, true} {
		for _, off := range []int{ProducerLock, NotEmpty, NotFull, offTail, offPuts, offHigh, offSeen, offBusy, offTaken, offGets, offPartial, offCursor, offLeases, offAgain} {
			for _, v := range values {
				w := newWorld(MinArea, ack)
				for i := range 5 {
					must(t, w.open(1).Put(bg, msg(i, 300)))
				}
				w.dead.Store(uint32(7), true)
				w.ctl.U64(base + off).Store(v)
				ends(w, fmt.Sprintf("ack %v, word %d = %#x", ack, off, v))
			}
		}
		for _, v := range values { // the header of the first record
			w := newWorld(MinArea, ack)
			for i := range 5 {
				must(t, w.open(1).Put(bg, msg(i, 300)))
			}
			w.area.U64(0).Store(v)
			ends(w, fmt.Sprintf("ack %v, header %#x", ack, v))
		}
		for _, v := range values { // the first word of an envelope
			w := newWorld(MinArea, ack)
			for i := range 5 {
				must(t, w.open(1).PutWith(bg, block(t, 0), msg(i, 300)))
			}
			w.area.U64(int(w.open(1).head)).Store(v)
			ends(w, fmt.Sprintf("ack %v, envelope %#x", ack, v))
		}
	}
}

func TestCorruptIsAnError(t *testing.T) {
	for what, spoil := range map[string]func(w *world, r *Queue){
		"a record without the valid bit": func(w *world, r *Queue) { w.area.U64(0).Store(5) },
		"a record larger than the area":  func(w *world, r *Queue) { w.area.U64(0).Store(header(MinArea, 1)) },
		"a misaligned taken":             func(w *world, r *Queue) { r.taken.Store(4) },
	} {
		for _, ack := range []bool{false, true} {
			w := newWorld(MinArea, ack)
			r := w.open(1)
			must(t, r.Put(bg, make([]byte, 200)))
			spoil(w, r)
			var err error
			if ack {
				_, err = r.TryLease()
			} else {
				ctx, cancel := context.WithTimeout(bg, 20*time.Second)
				defer cancel()
				_, err = r.Get(ctx, nil)
			}
			if !errors.Is(err, errs.ErrCorrupt) {
				t.Errorf("%s (ack %v): %v", what, ack, err)
			}
		}
	}
	// A row of records that runs in a circle.
	w := newWorld(MinArea, false)
	for off := 0; off < MinArea; off += 16 {
		w.area.U64(off).Store(header(8, uint64(off/16)))
	}
	r := w.open(1)
	if _, err := r.Stats(); !errors.Is(err, errs.ErrCorrupt) {
		t.Errorf("stats of a circle: %v", err)
	}
	if err := r.Put(bg, nil); !errors.Is(err, errs.ErrCorrupt) {
		t.Errorf("put into a circle: %v", err)
	}
}

// FuzzQueueImage runs everything over any bytes: no panic, no endless loop.
func FuzzQueueImage(f *testing.F) {
	image := func(w *world) []byte {
		return append(append([]byte{}, w.ctl.Bytes(0, w.ctl.Len())...), w.area.Bytes(0, w.area.Len())...)
	}
	for _, ack := range []bool{false, true} {
		w := newWorld(MinArea, ack)
		f.Add(image(w), ack)
		r := w.open(1)
		for i := range 5 {
			must(f, r.PutWith(bg, block(f, i), msg(i, 300)))
		}
		f.Add(image(w), ack)
		if ack {
			for i := range 3 {
				ls, err := r.TryLease()
				must(f, err)
				must(f, r.Settle(ls, i == 1))
			}
		} else {
			_, err := r.Get(bg, nil)
			must(f, err)
		}
		f.Add(image(w), ack)
		r.Close()
		f.Add(image(w), ack)
	}
	f.Fuzz(func(t *testing.T, image []byte, ack bool) {
		w := newWorld(MinArea, ack)
		n := copy(w.ctl.Bytes(0, w.ctl.Len()), image)
		copy(w.area.Bytes(0, w.area.Len()), image[n:])
		for t := uint32(2); t < 8; t++ {
			w.dead.Store(t, true)
		}
		ends(w, "")
	})
}
