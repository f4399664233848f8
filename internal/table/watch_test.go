package table

import (
	"fmt"
	"testing"
)

// inBucket is a key of the bucket with that number that no earlier call returned.
func inBucket(tb *Table, number int, not map[string]bool) string {
	for i := 0; ; i++ {
		key := fmt.Sprint("key", i)
		if !not[key] && tb.bucket(tb.hash(key)) == tb.buckets+number*bucketSize {
			not[key] = true
			return key
		}
	}
}

// polled polls until there is nothing to tell any more.
func polled(t *testing.T, w *Watcher, tell func(Event)) {
	t.Helper()
	for must(t, w.Poll(bg, tell)); w.Ready(); {
		must(t, w.Poll(bg, tell))
	}
}

// TestWatchMoving: values that are larger than half of the heap wander through the buckets while a watcher looks at one after
// the other: it meets more bytes than the heap has, and nothing is wrong.
func TestWatchMoving(t *testing.T) {
	w := newWorld(Geometry{Buckets: 64, Size: 256 << 10})
	tb, not := w.open(1), map[string]bool{}
	large := make([]byte, int(tb.end-tb.heap)*Granule*6/10)
	at, key := 5, inBucket(tb, 5, not)
	must(t, second(tb.Set(bg, key, large, Change{})))
	told := map[string]uint64{}
	tell := func(e Event) {
		if e.Deleted {
			delete(told, e.Key)
			return
		}
		if len(e.Value) != len(large) {
			t.Errorf("%s: %d bytes", e.Key, len(e.Value))
		}
		told[e.Key] = e.Revision
		if at < 55 {
			must(t, second(tb.Delete(bg, key, Change{})))
			at += 10
			key = inBucket(tb, at, not)
			must(t, second(tb.Set(bg, key, large, Change{})))
		}
	}
	watcher, err := tb.Watch(bg, "", false, tell)
	must(t, err)
	polled(t, watcher, tell)
	if len(told) != 1 || told[key] == 0 {
		t.Errorf("told of %v; there is %s", told, key)
	}
}

// TestWatchForgetsTimes: who keeps a value from expiring, again and again, does not fill the memory of watchers.
func TestWatchForgetsTimes(t *testing.T) {
	w := newWorld(Geometry{Buckets: 8})
	tb := w.open(1)
	watcher, err := tb.Watch(bg, "", false, nil)
	must(t, err)
	var told int
	for i := range 1000 {
		must(t, second(tb.Set(bg, fmt.Sprint("session", i%3), nil, Change{Expiry: After, Time: 1e9 + int64(1000-i)})))
		must(t, watcher.Poll(bg, func(e Event) {
			if told++; e.Deleted {
				t.Errorf("%s is gone", e.Key)
			}
		}))
	}
	if n := len(watcher.expiry); told != 1000 || n > 3 {
		t.Errorf("told %d times; %d times are remembered for three keys", told, n)
	}
	if in, ok := watcher.Expires(); !ok || in > 1e9+1000 {
		t.Errorf("expires in %v, %v", in, ok)
	}
	w.clock.Add(1e9 + 1001)
	gone := 0
	polled(t, watcher, func(e Event) {
		if e.Deleted {
			gone++
		}
	})
	if gone != 3 || len(watcher.expiry) != 0 || len(watcher.known) != 0 {
		t.Errorf("%d are gone, %d times and %d buckets remembered", gone, len(watcher.expiry), len(watcher.known))
	}
}

// TestWatchClockSetBack: what had expired exists again; everything is told once.
func TestWatchClockSetBack(t *testing.T) {
	w := newWorld(Geometry{Buckets: 8})
	tb, not := w.open(1), map[string]bool{}
	a, b := inBucket(tb, 3, not), inBucket(tb, 3, not)
	must(t, second(tb.Set(bg, a, []byte("1"), Change{})))
	must(t, second(tb.Set(bg, b, []byte("b"), Change{Expiry: After, Time: 1000})))
	must(t, second(tb.Delete(bg, a, Change{}))) // its slot is before that of b
	var events []string
	tell := func(e Event) { events = append(events, fmt.Sprint(e.Key, "=", string(e.Value), e.Deleted)) }
	watcher, err := tb.Watch(bg, "", false, tell)
	must(t, err)
	polled(t, watcher, tell)
	w.clock.Add(2000)
	polled(t, watcher, tell)
	want := []string{b + "=bfalse", b + "=true"}
	if fmt.Sprint(events) != fmt.Sprint(want) {
		t.Fatalf("%v; %v is wanted", events, want)
	}
	events = nil
	w.clock.Add(-2000)
	must(t, second(tb.Set(bg, a, []byte("2"), Change{})))
	polled(t, watcher, tell)
	want = []string{a + "=2false", b + "=bfalse"}
	if fmt.Sprint(events) != fmt.Sprint(want) {
		t.Fatalf("%v; %v is wanted", events, want)
	}
}

// TestWatchClearAndOverflow: a watcher that lags more than the log holds, and one that meets a Clear, know in the end what there is.
func TestWatchClearAndOverflow(t *testing.T) {
	w := newWorld(Geometry{Buckets: 16, Size: 256 << 10})
	tb := w.open(1)
	told := map[string]string{}
	tell := func(e Event) {
		if e.Deleted {
			delete(told, e.Key)
		} else {
			told[e.Key] = string(e.Value)
		}
	}
	watcher, err := tb.Watch(bg, "k", false, tell)
	must(t, err)
	n := 0
	for round, changes := range []int{1, 62, 63, 64, 65, 500, 10} {
		if round%2 == 1 {
			must(t, tb.Clear(bg))
		}
		for range changes {
			n++
			key := fmt.Sprint("k", n%40)
			if n%7 == 3 {
				_, _ = tb.Delete(bg, key, Change{})
				continue
			}
			must(t, second(tb.Set(bg, key, []byte(fmt.Sprint(n)), Change{})))
		}
		if round == 5 {
			must(t, tb.Clear(bg))
		}
		polled(t, watcher, tell)
		all, err := tb.All(bg, "", true)
		must(t, err)
		want := map[string]string{}
		for _, e := range all {
			want[e.Key] = string(e.Value)
		}
		if fmt.Sprint(told) != fmt.Sprint(want) {
			t.Fatalf("round %d: told of %v, there is %v", round, told, want)
		}
	}
}

// TestWatchAlwaysLagging: a watcher that looks at all buckets again and again, because others are faster than it each time, comes to the last one too.
func TestWatchAlwaysLagging(t *testing.T) {
	w := newWorld(Geometry{Buckets: 128, Size: 8 << 20})
	tb := w.open(1)
	watcher, err := tb.Watch(bg, "", false, nil)
	must(t, err)
	const keys = 60
	for i := range keys {
		must(t, second(tb.Set(bg, fmt.Sprint("large", i), make([]byte, pieceBytes/15), Change{})))
	}
	told, last := map[string]int{}, ""
	polls := 0
	for ; len(told) < keys+1 && polls < 20; polls++ {
		for i := range 100 { // more than the log holds
			last = fmt.Sprint(polls, i)
			must(t, second(tb.Set(bg, "hot", []byte(last), Change{})))
		}
		must(t, watcher.Poll(bg, func(e Event) { told[e.Key]++ }))
	}
	if len(told) != keys+1 || polls < 4 {
		t.Errorf("after %d polls told of %d keys of %d", polls, len(told), keys+1)
	}
	for key, n := range told {
		if n > 1 && key != "hot" {
			t.Errorf("told of %s %d times", key, n)
		}
	}
	value := ""
	polled(t, watcher, func(e Event) {
		if e.Key == "hot" {
			value = string(e.Value)
		}
	})
	if value != "" && value != last {
		t.Errorf("hot is %q in the end, not %q", value, last)
	}
}
