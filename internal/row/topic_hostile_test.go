package row

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// everything runs each operation on whatever the memory holds. It may fail, it must end.
func topicEverything(w *topicWorld, subs []*Subscriber) {
	ctx, cancel := context.WithTimeout(bg, 2*time.Millisecond)
	defer cancel()
	f := w.open(1)
	_ = f.Stats()
	for _, s := range subs {
		_, _ = s.TryGet(nil)
		_, _ = s.Lag()
	}
	for _, last := range []uint64{0, 1, 1 << 40} {
		s, err := f.Subscribe(last)
		if err != nil {
			continue
		}
		_, _ = s.TryGet(nil)
		_, _ = s.Get(ctx, nil)
		_, _ = s.GetWith(ctx, nil, new([]byte))
		_, _ = s.Lag()
		_ = s.Ended()
		subs = append(subs, s)
	}
	_ = f.TryPut(make([]byte, 100))
	_ = f.PutWith(ctx, make([]byte, 8), make([]byte, 100))
	_ = f.Put(ctx, make([]byte, 3000))
	_, _ = f.PutMany(ctx, [][]byte{nil, make([]byte, 9), make([]byte, 500)})
	if ok, _ := f.ProducerLock.TryLock(); ok {
		var p Producer
		if p.Resume(&f.Row) == nil {
			_ = p.Put(ctx, make([]byte, 700))
			_, _ = p.PutAll(ctx, [][]byte{make([]byte, 2000), make([]byte, 2000)})
		}
		f.ProducerLock.Unlock()
	}
	for _, s := range subs {
		_, _ = s.Get(ctx, nil)
	}
	f.Close()
	for _, s := range subs {
		_ = s.Ended()
		s.Leave()
	}
	_ = f.Stats()
}

// ends panics, to show all stacks, if everything does not end.
func topicEnds(w *topicWorld, subs []*Subscriber, what string) {
	t := time.AfterFunc(10*time.Second, func() { panic("no end: " + what) })
	defer t.Stop()
	topicEverything(w, subs)
}

// populated is a topic with messages and subscribers.
func populated(t testing.TB, overwrite bool) (*topicWorld, []*Subscriber) {
	w := newTopicWorld(MinArea, overwrite, 4)
	a, b := subscribe(t, w.open(5), 0), subscribe(t, w.open(1), 0)
	for i := range 5 {
		must(t, w.open(1).Put(bg, numbered(i, 300)))
	}
	return w, []*Subscriber{a, b}
}

func TestTopicHostileWords(t *testing.T) {
	values := []uint64{0, 1, 7, 8, 4096, 4104, 1 << 31, 1 << 32, 1<<32 | 4080, 1<<33 - 1, 1 << 63, 1<<64 - 1, 1<<64 - 8, 1<<64 - 4096}
	for _, overwrite := range []bool{false, true} {
		for _, off := range []int{ProducerLock, Published, Room, topicTail, topicFreed, topicBytes, topicBusy, topicFloor, topicUsed,
			table - topicBase + slotToken, table - topicBase + slotCursor, table - topicBase + slotNumber, table - topicBase + SlotSize + slotCursor} {
			for _, v := range values {
				w, subs := populated(t, overwrite)
				w.dead.Store(uint32(7), true)
				w.ctl.U64(topicBase + off).Store(v)
				topicEnds(w, subs, fmt.Sprintf("overwrite %v, word %d = %#x", overwrite, off, v))
			}
		}
		for _, off := range []int{0, 8, 316} { // of the first records
			for _, v := range values {
				w, subs := populated(t, overwrite)
				w.area.U64(off &^ 7).Store(v)
				topicEnds(w, subs, fmt.Sprintf("overwrite %v, area %d = %#x", overwrite, off, v))
			}
		}
	}
}

func TestTopicCorruptIsAnError(t *testing.T) {
	for _, overwrite := range []bool{false, true} {
		for what, spoil := range map[string]func(w *topicWorld){
			"a record without the valid bit":  func(w *topicWorld) { w.area.U64(0).Store(5) },
			"a record larger than the topic":  func(w *topicWorld) { w.area.U64(0).Store(header(MinArea, 0)) },
			"a record with another number":    func(w *topicWorld) { w.area.U64(0).Store(header(300, 9)) },
			"a slot that somebody took":       func(w *topicWorld) { w.ctl.U32(table).Store(77) },
			"a floor that misses nothing":     func(w *topicWorld) { w.ctl.U64(topicBase + topicFloor).Store(4000) },
			"a floor in the middle of a word": func(w *topicWorld) { w.ctl.U64(topicBase + topicFloor).Store(321) },
		} {
			if !overwrite && what[:7] == "a floor" {
				continue // readers do not look at it
			}
			w, subs := populated(t, overwrite)
			spoil(w)
			if _, err := subs[0].TryGet(nil); !errors.Is(err, errs.ErrCorrupt) {
				t.Errorf("%s (overwrite %v): %v", what, overwrite, err)
			}
		}
		for what, spoil := range map[string]func(w *topicWorld){
			"a misaligned tail":    func(w *topicWorld) { w.ctl.U64(topicBase + topicTail).Store(3) },
			"a tail far away":      func(w *topicWorld) { w.ctl.U64(topicBase + topicTail).Store(1 << 40) },
			"freed behind tail":    func(w *topicWorld) { w.ctl.U64(topicBase + topicFreed).Store(1 << 20) },
			"records in a circle":  circle,
			"a record of nonsense": func(w *topicWorld) { w.area.U64(0).Store(1); w.ctl.U64(topicBase + topicTail).Store(0) },
		} {
			w, _ := populated(t, overwrite)
			spoil(w)
			if err := w.open(2).TryPut(nil); !errors.Is(err, errs.ErrCorrupt) {
				t.Errorf("%s (overwrite %v): %v", what, overwrite, err)
			}
		}
	}
}

func circle(w *topicWorld) {
	for off := 0; off < MinArea; off += 32 {
		w.area.U64(off).Store(header(16, uint64(off/32)))
	}
	w.ctl.U64(topicBase + topicTail).Store(0)
}

// FuzzTopicImage runs everything over any bytes: no panic, no endless loop.
func FuzzTopicImage(f *testing.F) {
	image := func(w *topicWorld) []byte {
		return append(append([]byte{}, w.ctl.Bytes(0, w.ctl.Len())...), w.area.Bytes(0, w.area.Len())...)
	}
	for _, overwrite := range []bool{false, true} {
		f.Add(image(newTopicWorld(MinArea, overwrite, 4)), overwrite)
		w, subs := populated(f, overwrite)
		f.Add(image(w), overwrite)
		if _, err := subs[0].TryGet(nil); err != nil {
			f.Fatal(err)
		}
		f.Add(image(w), overwrite)
		w.open(1).Close()
		f.Add(image(w), overwrite)
	}
	f.Fuzz(func(t *testing.T, image []byte, overwrite bool) {
		w := newTopicWorld(MinArea, overwrite, 4)
		n := copy(w.ctl.Bytes(0, w.ctl.Len()), image)
		copy(w.area.Bytes(0, w.area.Len()), image[n:])
		for t := uint32(2); t < 8; t++ {
			w.dead.Store(t, true)
		}
		topicEnds(w, nil, "")
	})
}
