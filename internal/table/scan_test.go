package table

import (
	"context"
	"testing"
)

// disturbed is a context that does something the first time it is asked for its error.
type disturbed struct {
	context.Context
	do func()
}

func (d *disturbed) Err() error {
	if f := d.do; f != nil {
		d.do = nil
		f()
	}
	return nil
}

// TestAllMoving: a value of more than half of the heap moves on while All reads; that it is met twice is no corruption.
func TestAllMoving(t *testing.T) {
	w := newWorld(Geometry{Buckets: 2048, Size: 512 << 10})
	tb, not := w.open(1), map[string]bool{}
	large := make([]byte, int(tb.end-tb.heap)*Granule*6/10)
	before, behind := inBucket(tb, 5, not), inBucket(tb, 1500, not)
	must(t, second(tb.Set(bg, before, large, Change{})))
	ctx := &disturbed{bg, func() {
		must(t, second(tb.Delete(bg, before, Change{})))
		must(t, second(tb.Set(bg, behind, large, Change{})))
	}}
	all, rev, err := tb.All(ctx, "", true)
	must(t, err)
	if len(all) != 1 || all[0].Key != behind || rev != tb.Revision() {
		t.Errorf("%d entries of revision %d", len(all), rev)
	}
}

// TestScanMoving: the same for Scan, which promises no moment.
func TestScanMoving(t *testing.T) {
	w := newWorld(Geometry{Buckets: 64, Size: 256 << 10})
	tb, not := w.open(1), map[string]bool{}
	first, clock, last := inBucket(tb, 5, not), inBucket(tb, 9, not), inBucket(tb, 20, not)
	room := int(tb.end-tb.heap) * Granule
	must(t, second(tb.Set(bg, clock, nil, Change{Expiry: After, Time: 1e9})))
	must(t, second(tb.Set(bg, first, make([]byte, 60_000), Change{})))
	scanner := w.open(2)
	asked := false
	scanner.now = func() int64 {
		if !asked {
			asked = true
			must(t, second(tb.Delete(bg, first, Change{})))
			must(t, second(tb.Set(bg, last, make([]byte, room-20_000), Change{})))
		}
		return w.clock.Load()
	}
	n := 0
	for next := 0; next >= 0; {
		var some []Entry
		var err error
		some, next, err = scanner.Scan(bg, next, "")
		must(t, err)
		n += len(some)
	}
	if n != 3 || !asked {
		t.Errorf("%d entries", n)
	}
}
