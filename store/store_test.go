package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
)

func TestOperations(t *testing.T) {
	s := create(t, domain(t), nil)
	_, err := s.Get("a")
	is(t, err, shiplap.ErrNotExist)
	if b, err := s.GetOr("a", []byte("def")); err != nil || string(b) != "def" {
		t.Fatalf("%q, %v", b, err)
	}
	r1, err := s.Set(bg, "a", []byte("1"))
	ok(t, err)
	if b, err := s.Get("a"); err != nil || string(b) != "1" {
		t.Fatalf("%q, %v", b, err)
	}
	_, err = s.Create(bg, "a", nil)
	is(t, err, shiplap.ErrExist)
	_, err = s.Update(bg, "a", []byte("x"), r1+1)
	is(t, err, shiplap.ErrConflict)
	r2, err := s.Update(bg, "a", []byte("2"), r1)
	ok(t, err)
	is(t, s.DeleteRev(bg, "a", r1), shiplap.ErrConflict)
	e, err := s.Entry("a")
	ok(t, err)
	if e.Key != "a" || string(e.Value) != "2" || e.Revision != r2 || !e.Expires.IsZero() || e.Format != FormatBytes {
		t.Fatalf("%+v", e)
	}
	ok(t, s.DeleteRev(bg, "a", r2))
	is(t, s.Delete(bg, "a"), shiplap.ErrNotExist)
	_, err = s.Update(bg, "a", nil, r2)
	is(t, err, shiplap.ErrNotExist)
	_, err = s.Create(bg, "", nil) // the empty key, an empty value
	ok(t, err)
	if b, err := s.Get(""); err != nil || b == nil || len(b) != 0 {
		t.Fatalf("%v, %v", b, err)
	}

	for _, d := range []int64{5, -7, 0} {
		_, err = s.Add(bg, "n", d)
		ok(t, err)
	}
	if b, _ := s.Get("n"); string(b) != "-2" {
		t.Fatalf("%q", b)
	}
	_, err = s.Add(bg, "", 1)
	is(t, err, shiplap.ErrIncompatible)
	_, err = s.Add(bg, "n", -1<<63)
	is(t, err, shiplap.ErrTooLarge)
	_, err = s.Set(bg, strings.Repeat("k", MaxKey+1), nil)
	is(t, err, shiplap.ErrTooLarge)
	_, err = s.Set(bg, "k", make([]byte, DefaultMaxBytes))
	is(t, err, shiplap.ErrTooLarge)

	for _, k := range []string{"b:2", "b:1", "c:1"} {
		_, err := s.Set(bg, k, []byte(k))
		ok(t, err)
	}
	if keys, err := s.Keys(bg, "b:"); err != nil || !slices.Equal(keys, []string{"b:1", "b:2"}) {
		t.Fatalf("%q, %v", keys, err)
	}
	if all, err := s.All(bg, ""); err != nil || len(all) != 5 || all[2].Key != "b:2" || string(all[2].Value) != "b:2" {
		t.Fatalf("%v, %v", all, err)
	}
	n := 0
	for e, err := range s.Scan(bg, "b:") {
		ok(t, err)
		if n++; string(e.Value) != e.Key {
			t.Errorf("%+v", e)
		}
	}
	if n != 2 {
		t.Errorf("%d scanned", n)
	}
	if has, err := s.Has("b:1"); err != nil || !has {
		t.Error(has, err)
	}
	if has, err := s.Has("b:3"); err != nil || has {
		t.Error(has, err)
	}
	if n, err := s.Len(); err != nil || n != 5 {
		t.Error(n, err)
	}
	st, err := s.Stats()
	ok(t, err)
	if st.Keys != 5 || st.Overhead+st.Used+st.Free != st.MaxBytes || st.Hits == 0 || st.Misses == 0 || st.Sets == 0 || st.Reserved >= st.MaxBytes {
		t.Errorf("%+v", st)
	}
	if !strings.Contains(st.String(), "5 keys") || s.String() != `store "s"` || s.Name() != "s" {
		t.Error(st, s)
	}
	ok(t, s.Check(bg), s.Clear(bg))
	if n, err := s.Len(); err != nil || n != 0 {
		t.Error(n, err)
	}
	if rev, err := s.Revision(); err != nil || rev <= r2 {
		t.Error(rev, err)
	}
	ok(t, s.Close())
	is(t, s.Close(), shiplap.ErrClosed)
	_, err = s.Get("a")
	is(t, err, shiplap.ErrClosed)
	_, err = s.Set(bg, "a", nil)
	is(t, err, shiplap.ErrClosed)
	_, err = s.Lock(bg, "a")
	is(t, err, shiplap.ErrClosed)
}

func TestExpiry(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	s := create(t, domain(t), &Options{now: now.Load})
	_, err := s.Set(bg, "a", []byte("x"), TTL(time.Hour))
	ok(t, err)
	if d, err := s.TTL("a"); err != nil || d <= 0 || d > time.Hour {
		t.Error(d, err)
	}
	_, err = s.Set(bg, "a", []byte("y"), KeepTTL())
	ok(t, err)
	e, err := s.Entry("a")
	ok(t, err)
	if want := time.Unix(0, now.Load()).Add(time.Hour); !e.Expires.Equal(want) {
		t.Errorf("%v, %v is wanted", e.Expires, want)
	}
	ok(t, s.Persist(bg, "a"))
	if d, err := s.TTL("a"); err != nil || d != 0 {
		t.Error(d, err)
	}
	ok(t, s.Expire(bg, "a", time.Minute))
	_, err = s.Set(bg, "b", []byte("y"), ExpireAt(time.Unix(0, now.Load()).Add(2*time.Minute)))
	ok(t, err)
	now.Add(int64(time.Minute))
	_, err = s.Get("a")
	is(t, err, shiplap.ErrNotExist)
	is(t, s.Expire(bg, "a", time.Minute), shiplap.ErrNotExist)
	is(t, s.Delete(bg, "a"), shiplap.ErrNotExist)
	_, err = s.TTL("a")
	is(t, err, shiplap.ErrNotExist)
	if all, err := s.Keys(bg, ""); err != nil || !slices.Equal(all, []string{"b"}) {
		t.Error(all, err)
	}
	if n, err := s.Reclaim(bg); err != nil || n != 1 {
		t.Error(n, err)
	}
	_, err = s.Create(bg, "a", nil)
	ok(t, err, s.Check(bg))
	_, err = s.Set(bg, "c", nil, ExpireAt(time.Unix(0, 0)))
	ok(t, err)
	_, err = s.Get("c")
	is(t, err, shiplap.ErrNotExist)
	_, err = s.Set(bg, "d", nil, TTL(1<<63-1))
	ok(t, err)
	_, err = s.Get("d")
	ok(t, err)
}

func TestOpen(t *testing.T) {
	d := domain(t)
	_, err := Open(d, "s", nil)
	is(t, err, shiplap.ErrNotExist)
	s := create(t, d, &Options{MaxBytes: 1 << 20, Label: "for people"})
	_, err = Create(d, "s", nil)
	is(t, err, shiplap.ErrExist)
	o, err := OpenOrCreate(d, "s", nil)
	ok(t, err)
	_, err = s.Set(bg, "a", []byte("x"))
	ok(t, err)
	if b, err := o.Get("a"); err != nil || string(b) != "x" {
		t.Error(b, err)
	}
	ok(t, o.Close())
	m, err := lock.CreateMutex(d, "m", nil)
	ok(t, err)
	_, err = Open(d, "m", nil)
	is(t, err, shiplap.ErrIncompatible)
	ok(t, m.Close(), d.Remove(bg, "m"))
	for _, opt := range []Options{{MaxBytes: -1}, {MaxBytes: 1 << 40}, {MaxBytes: 1 << 20, Keys: 1 << 20}, {Keys: -1}, {Locks: -1}, {Locks: 1 << 20}} {
		_, err := Create(d, "x", &opt)
		is(t, err, shiplap.ErrTooLarge)
	}
	_, err = Open(d, "s", &Options{Codec: "raw"})
	is(t, err, shiplap.ErrUnsupported)
	info, err := d.Stat("s")
	ok(t, err)
	if info.Kind != "store" || info.Label != "for people" || info.Size != 1<<20 {
		t.Errorf("%+v", info)
	}
	st, err := os.Stat(filepath.Join(d.Dir(), "s"))
	ok(t, err)
	if st.Size() != 1<<20 {
		t.Errorf("%d bytes", st.Size())
	}
	ok(t, d.Remove(bg, "s"))
	_, err = s.Get("a")
	is(t, err, shiplap.ErrRemoved)
	_, err = s.Set(bg, "a", nil)
	is(t, err, shiplap.ErrRemoved)
	_, err = s.Lock(bg, "a")
	is(t, err, shiplap.ErrRemoved)
}

type point struct {
	X, Y int
	Name string
}

func TestTyped(t *testing.T) {
	d := domain(t)
	s := create(t, d, nil)
	j, err := Open(d, "s", &Options{Codec: JSON})
	ok(t, err)
	defer j.Close()
	p := point{1, 2, "p"}
	_, err = Set(bg, s, "cbor", p)
	ok(t, err)
	_, err = Set(bg, j, "json", p)
	ok(t, err)
	for _, key := range []string{"cbor", "json"} {
		if got, err := Get[point](s, key); err != nil || got != p {
			t.Errorf("%s: %v, %v", key, got, err)
		}
		if got, err := Get[map[string]any](s, key); err != nil || got["Name"] != "p" {
			t.Errorf("%s: %v, %v", key, got, err)
		}
		_, err := Get[[]int](s, key)
		is(t, err, shiplap.ErrIncompatible)
	}
	if b, _ := s.Get("json"); string(b) != `{"X":1,"Y":2,"Name":"p"}` {
		t.Errorf("%s", b)
	}
	_, err = Set(bg, s, "text", "hello")
	ok(t, err)
	if b, _ := s.Get("text"); string(b) != "hello" {
		t.Errorf("%q", b)
	}
	if v, err := Get[[]byte](s, "text"); err != nil || string(v) != "hello" {
		t.Error(v, err)
	}
	_, err = Get[int](s, "text")
	is(t, err, shiplap.ErrIncompatible)
	_, err = Get[point](s, "text")
	is(t, err, shiplap.ErrIncompatible)
	_, err = Set(bg, s, "n", int8(41))
	ok(t, err)
	_, err = s.Add(bg, "n", 1)
	ok(t, err)
	if v, err := Get[uint64](s, "n"); err != nil || v != 42 {
		t.Error(v, err)
	}
	_, err = s.Add(bg, "n", 1000)
	ok(t, err)
	_, err = Get[int8](s, "n")
	is(t, err, shiplap.ErrIncompatible)
	if v, err := GetOr(s, "missing", 7); err != nil || v != 7 {
		t.Error(v, err)
	}
	signed(t, s, int(-1), int16(-2), int32(-3), int64(-4))
	unsigned(t, s)

	v := As[point](s)
	if v.Store() != s {
		t.Error("another store")
	}
	rev, err := v.Create(bg, "p:1", point{X: 1})
	ok(t, err)
	events := v.Watch(bg, "p:*", &WatchOptions{Initial: true})
	_, err = v.Update(bg, "p:1", point{X: 2}, rev)
	ok(t, err)
	_, err = v.Set(bg, "p:2", point{X: 3}, TTL(time.Hour))
	ok(t, err)
	all, err := v.All(bg, "p:")
	ok(t, err)
	if len(all) != 2 || all[0].Value.X != 2 || all[1].Value.X != 3 || all[1].Expires.IsZero() {
		t.Errorf("%+v", all)
	}
	ok(t, s.Delete(bg, "p:1"))
	var last []string
	for e, err := range events {
		ok(t, err)
		last = append(last, fmt.Sprintf("%s %d %v", e.Key, e.Value.X, e.Deleted))
		if e.Deleted {
			break
		}
	}
	if last[0] != "p:1 1 false" || !slices.Contains(last, "p:1 0 true") {
		t.Error(last)
	}
	_, err = As[point](s).All(bg, "")
	is(t, err, shiplap.ErrIncompatible)
	_, err = Set(bg, s, "f", func() {})
	if err == nil {
		t.Error("a function was stored")
	}
}

func signed(t *testing.T, s *Store, a int, b int16, c int32, d int64) {
	t.Helper()
	roundTrip(t, s, a)
	roundTrip(t, s, b)
	roundTrip(t, s, c)
	roundTrip(t, s, d)
}

func unsigned(t *testing.T, s *Store) {
	t.Helper()
	roundTrip(t, s, uint(1))
	roundTrip(t, s, uint8(2))
	roundTrip(t, s, uint16(3))
	roundTrip(t, s, uint32(4))
	roundTrip(t, s, uint64(1<<64-1))
	roundTrip(t, s, 3.5)
	roundTrip(t, s, true)
}

func roundTrip[T comparable](t *testing.T, s *Store, v T) {
	t.Helper()
	_, err := Set(bg, s, "round", v)
	ok(t, err)
	if got, err := Get[T](s, "round"); err != nil || got != v {
		t.Errorf("%v, %v; %v is wanted", got, err, v)
	}
}

// expect reads events until a map of what they tell is as wanted.
func expect(t *testing.T, events func(func(Event, error) bool), told, want map[string]string) {
	t.Helper()
	for e, err := range events {
		ok(t, err)
		if e.Deleted {
			delete(told, e.Key)
		} else {
			told[e.Key] = string(e.Value)
		}
		if maps.Equal(told, want) {
			return
		}
	}
	t.Fatalf("told %v", told)
}

func TestWatch(t *testing.T) {
	d := domain(t)
	s, err := Create(d, "s", nil) // not ephemeral: it would be removed before it is closed
	ok(t, err)
	t.Cleanup(func() { ok(t, d.Remove(bg, "s")) })
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	_, err = s.Set(bg, "k:0", []byte("0"))
	ok(t, err)
	for _, c := range []struct {
		pattern string
		opt     *WatchOptions
		want    map[string]string
	}{
		{"k:*", nil, map[string]string{"k:1": "1", "k:2": "2"}},
		{"k:*", &WatchOptions{Initial: true}, map[string]string{"k:0": "0", "k:1": "1", "k:2": "2"}},
		{"k:1", nil, map[string]string{"k:1": "1"}},
		{"k*", &WatchOptions{Exact: true}, map[string]string{"k*": "star"}},
		{"*", nil, map[string]string{"k:1": "1", "k:2": "2", "k*": "star", "other": "x"}},
	} {
		events := s.Watch(ctx, c.pattern, c.opt)
		for _, kv := range [][2]string{{"k:1", "old"}, {"k:1", "1"}, {"other", "x"}, {"k:2", "2"}, {"k*", "star"}} {
			_, err := s.Set(bg, kv[0], []byte(kv[1]))
			ok(t, err)
		}
		want := maps.Clone(c.want)
		if c.pattern == "k:*" && c.opt == nil {
			want = maps.Clone(c.want)
		}
		expect(t, events, map[string]string{}, want)
		for _, k := range []string{"k:1", "k:2", "k*", "other"} {
			ok(t, s.Delete(bg, k))
		}
		delete(want, "k:1")
		delete(want, "k:2")
		delete(want, "k*")
		delete(want, "other")
	}

	// Asleep, then woken by another goroutine; expiry is told without anybody writing; Clear is told.
	events := s.Watch(ctx, "k:*", &WatchOptions{Initial: true})
	told := map[string]string{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			st, err := s.Stats()
			if err != nil || st.Sleeps > 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		_, err := s.Set(bg, "k:9", []byte("9"), TTL(30*time.Millisecond))
		if err != nil {
			t.Error(err)
		}
	})
	expect(t, events, told, map[string]string{"k:0": "0", "k:9": "9"})
	wg.Wait()
	expect(t, events, told, map[string]string{"k:0": "0"})
	ok(t, s.Clear(bg))
	expect(t, events, told, map[string]string{})

	cancel()
	for _, err := range events {
		is(t, err, context.Canceled)
	}
	events = s.Watch(bg, "k:*", nil)
	wg.Go(func() { s.Close() })
	for _, err := range events {
		is(t, err, shiplap.ErrClosed)
	}
	wg.Wait()
	for _, err := range s.Watch(bg, "k", nil) {
		is(t, err, shiplap.ErrClosed)
	}
}

// TestWatchLagging: who lags by more than the change log holds is told of the last values all the same.
func TestWatchLagging(t *testing.T) {
	s := create(t, domain(t), &Options{MaxBytes: 1 << 20})
	events := s.Watch(bg, "*", nil)
	want := map[string]string{}
	for i := range 5000 {
		k, v := fmt.Sprint(i%50), fmt.Sprint(i)
		_, err := s.Set(bg, k, []byte(v))
		ok(t, err)
		want[k] = v
	}
	ok(t, s.Delete(bg, "7"))
	delete(want, "7")
	expect(t, events, map[string]string{}, want)
}

func TestKeyLock(t *testing.T) {
	d := domain(t)
	s := create(t, d, &Options{Locks: 2})
	a, err := s.Lock(bg, "a")
	ok(t, err)
	_, err = s.TryLock("a")
	is(t, err, shiplap.ErrBusy)
	ctx, cancel := context.WithTimeout(bg, 5*time.Millisecond)
	_, err = s.Lock(ctx, "a")
	cancel()
	is(t, err, context.DeadlineExceeded)
	b, err := s.TryLock("b")
	ok(t, err)
	_, err = s.TryLock("c")
	is(t, err, shiplap.ErrFull)
	st, err := s.Stats()
	ok(t, err)
	if len(st.Locks) != 2 || st.Locks[0].Holder != os.Getpid() || st.Locks[0].Key != "a" && st.Locks[1].Key != "a" {
		t.Errorf("%+v", st.Locks)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		l, err := s.Lock(bg, "a")
		if err == nil {
			err = l.Unlock()
		}
		if err != nil {
			t.Error(err)
		}
	})
	if a.Key() != "a" || !strings.Contains(a.String(), `"a"`) {
		t.Error(a)
	}
	ok(t, a.Unlock())
	is(t, a.Unlock(), shiplap.ErrConflict)
	is(t, a.Repaired(), shiplap.ErrConflict)
	wg.Wait()
	ok(t, s.Close(), b.Unlock()) // works after Close
}

func TestDump(t *testing.T) {
	d := domain(t)
	s := create(t, d, nil)
	_, err := s.Set(bg, "text", []byte("ä \" <"))
	ok(t, err)
	_, err = s.Set(bg, "\xff", []byte{0, 0xff}, TTL(time.Hour))
	ok(t, err)
	_, err = Set(bg, s, "cbor", point{1, 2, "x"})
	ok(t, err)
	_, err = s.Set(bg, "", nil)
	ok(t, err)
	_, err = s.Set(bg, "gone", nil, TTL(-1))
	ok(t, err)
	var out bytes.Buffer
	if n, err := s.Dump(bg, &out, ""); err != nil || n != 4 {
		t.Fatal(n, err)
	}
	if !strings.Contains(out.String(), `{"key":"text","value":"ä \" <","revision":1}`) {
		t.Error(out.String())
	}
	before, err := s.All(bg, "")
	ok(t, err, s.Clear(bg))
	if n, err := s.Load(bg, strings.NewReader(out.String()+"\n"+`{"key":"late","value":"x","expires":"2001-01-01T00:00:00Z"}`)); err != nil || n != 4 {
		t.Fatal(n, err)
	}
	again, err := s.All(bg, "")
	ok(t, err)
	same := slices.EqualFunc(before, again, func(a, b Entry) bool {
		return a.Key == b.Key && bytes.Equal(a.Value, b.Value) && a.Format == b.Format && a.Expires.Equal(b.Expires)
	})
	if !same {
		t.Errorf("%v, and after loading %v", before, again)
	}
	for _, bad := range []string{`{`, `{"key":"a"}`, `{"value":"a"}`, `{"key":"a","key_base64":"","value":""}`, `{"key":"a","value":"b"} x`,
		`{"key":"a","value":"b","format":"xml"}`, `{"key":"a","value":"b","more":1}`, "{\"key\":\"a\",\"value\":\"\xff\"}"} {
		n, err := s.Load(bg, strings.NewReader(`{"key":"good","value":""}`+"\n"+bad))
		if n != 1 || err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %d, %v", bad, n, err)
		}
	}
	if _, err := s.Dump(bg, failing{}, ""); !errors.Is(err, errFailing) {
		t.Error(err)
	}
}

var errFailing = errors.New("failing")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFailing }

func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"key":"a","value":"b","revision":1,"expires":"2030-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"key_base64":"/w==","value_base64":"AP8=","format":"cbor"}`))
	f.Add([]byte(`{"key":"a","value":"b"}{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseLine(b)
		if err != nil {
			return
		}
		l := lineOf(&e)
		if l.Expires.Year() > 9999 || l.Expires.Year() < 0 {
			return // not to be written
		}
		var out bytes.Buffer
		if err := writeLine(&out, &e); err != nil {
			t.Fatal(err)
		}
		again, err := parseLine(out.Bytes())
		if err != nil || again.Key != e.Key || !bytes.Equal(again.Value, e.Value) || again.Format != e.Format || !again.Expires.Equal(e.Expires) {
			t.Fatalf("%+v is %+v after a dump, %v", e, again, err)
		}
	})
}
