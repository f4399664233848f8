package pymp

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/pythontest"
	"github.com/shiplap-ipc/shiplap/shm"
)

func newList(t testing.TB, items []any, opts *ListOptions) ([]byte, *ShareableList) {
	t.Helper()
	n, err := ShareableListSize(items, opts)
	ok(t, err)
	b := make([]byte, n)
	s, err := NewShareableList(b, items, opts)
	ok(t, err)
	return b, s
}

// unpack is what a line of Python's base64 of a pickle holds.
func unpack(t testing.TB, line string) any {
	t.Helper()
	p, err := base64.StdEncoding.DecodeString(line)
	ok(t, err)
	v, err := DecodePickle(p, nil)
	ok(t, err)
	return v
}

const listHelpers = `
import base64, pickle, random, sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import ShareableList
def show(v): print(base64.b64encode(pickle.dumps(v)).decode())
def attach(name):
    l = ShareableList(name=name)
    resource_tracker.unregister(l.shm._name, "shared_memory") # cpython#82300
    return l
`

// Many lists of Python, byte for byte.
func TestListBytes(t *testing.T) {
	const code = listHelpers + `
random.seed(7)
def value(ascii):
    k = random.randrange(9)
    if k == 0: return random.choice([0, 1, -1, 2**63-1, -2**63, random.getrandbits(62)])
    if k == 1: return random.choice([0.0, -0.0, 1.5, float("inf"), 1e-300])
    if k == 2: return random.random() < .5
    if k == 3: return None
    n = random.choice([0, 1, 6, 7, 8, 9, 15, 16, 17, 200])
    if k < 6: return bytes(random.randrange(256) for _ in range(n))
    if ascii: return "".join(chr(random.randrange(128)) for _ in range(n))
    return "".join(random.choice("aä€") for _ in range(n))
lists = [[], [None], [True, False], [""], ["a" * 9999991], [b"\0\0"], ["x\0"], [0] * 1000]
lists += [[value(True) for _ in range(random.randrange(1, 20))] for _ in range(300)]
lists += [["ä"], ["ä" * 3], ["aaaä"]] # slots of the same size as if Python counted bytes
for items in lists:
    l = ShareableList(items)
    show((items, bytes(l.shm.buf), l.format))
    l.shm.close(); l.shm.unlink()
`
	each(t, func(t *testing.T, p pythontest.Python) {
		s := python(t, p, code)
		n := 0
		for {
			line, more := s.hear()
			if !more {
				break
			}
			n++
			v := unpack(t, line).(Tuple)
			items, want, format := v[0].([]any), v[1].([]byte), v[2].(string)
			opts := &ListOptions{Python38: !p.AtLeast(9)}
			got, mine := newList(t, items, opts)
			if !bytes.Equal(got, want) {
				t.Fatalf("%.200q:\n%x, want\n%x", items, got, want)
			}
			f, err := mine.Format()
			if ok(t, err); f != format {
				t.Errorf("format %q, want %q", f, format)
			}
			theirs, err := OpenShareableList(want)
			ok(t, err)
			all, err := theirs.Items()
			ok(t, err)
			if !reflect.DeepEqual(all, stripped(items)) {
				t.Fatalf("%.200q: read as %.200q", items, all)
			}
		}
		s.end()
		if n < 300 {
			t.Errorf("%d lists only", n)
		}
	})
}

// stripped is what readers see of items.
func stripped(items []any) []any {
	out := make([]any, len(items))
	for i, v := range items {
		switch v := v.(type) {
		case string:
			out[i] = strings.TrimRight(v, "\x00")
		case []byte:
			out[i] = bytes.TrimRight(v, "\x00")
		default:
			out[i] = v
		}
	}
	return out
}

// Go makes, Python reads and writes, Go reads; then the other way round.
func TestListBothWays(t *testing.T) {
	const code = listHelpers + `
l = attach(sys.argv[1])
show(list(l))
show((l.format, len(l), l.index("ä€😀" * 5), l.count(7)))
l[0] = 8; l[1] = -0.5; l[2] = False; l[3] = "was None"[:8]; l[4] = b"bytes"; l[5] = None; l[6] = "ö" * 4
try: l[0] = "x" * 9
except ValueError: print("refused")
sys.stdin.readline()
show(list(l))
l.shm.close()

m = ShareableList(["text", 1, b"b", None, 2.5, True, "x" * 30])
print(m.shm.name)
sys.stdin.readline()
show(list(m)); show(m.format)
m.shm.close(); m.shm.unlink()
`
	each(t, func(t *testing.T, p pythontest.Python) {
		opts := &ListOptions{Python38: !p.AtLeast(9)}
		items := []any{int64(7), 1.25, true, nil, "ä€😀ä€😀ä€😀ä€😀ä€😀", []byte("bytes\x00x"), "plain"}
		l, err := CreateShareableList("", items, opts)
		ok(t, err)
		defer l.Close()
		defer l.Unlink()
		f, err := l.Format()
		ok(t, err)
		s := python(t, p, code, l.Name())
		line, _ := s.hear()
		if got := unpack(t, line); !reflect.DeepEqual(got, items) {
			t.Fatalf("Python sees %q", got)
		}
		line, _ = s.hear()
		if got := unpack(t, line); !reflect.DeepEqual(got, Tuple{f, int64(7), int64(4), int64(1)}) {
			t.Errorf("format, length, index, count: %q", got)
		}
		s.want("refused")
		got, err := l.Items()
		ok(t, err)
		if want := []any{int64(8), -0.5, false, "was None", []byte("bytes"), nil, "öööö"}; !reflect.DeepEqual(got, want) {
			t.Errorf("after Python's stores: %q", got)
		}
		changed := []any{"8 bytes!", []byte{0, 1}, nil, int64(-5), "short", "ß", math.Inf(1)}
		for i, v := range changed {
			ok(t, l.Set(i, v))
		}
		s.say("go")
		line, _ = s.hear()
		if got := unpack(t, line); !reflect.DeepEqual(got, changed) {
			t.Errorf("after our stores Python sees %q", got)
		}

		name, _ := s.hear()
		m, err := AttachShareableList(name, nil)
		ok(t, err)
		got, err = m.Items()
		ok(t, err)
		if want := []any{"text", int64(1), []byte("b"), nil, 2.5, true, strings.Repeat("x", 30)}; !reflect.DeepEqual(got, want) {
			t.Errorf("Python's list: %q", got)
		}
		if r, err := m.Room(6); err != nil || r != 32 {
			t.Errorf("room %d, %v", r, err)
		}
		changed = []any{1.5, "eight by", int64(1), "x", true, []byte("\xff"), nil}
		for i, v := range changed {
			ok(t, m.Set(i, v))
		}
		f, err = m.Format()
		ok(t, err)
		s.say("go")
		line, _ = s.hear()
		if got := unpack(t, line); !reflect.DeepEqual(got, changed) {
			t.Errorf("after our stores Python sees %q", got)
		}
		line, _ = s.hear()
		if got := unpack(t, line); got != f {
			t.Errorf("format %q, Python says %q", f, got)
		}
		s.end()
		ok(t, m.Close())
		if _, err := m.At(0); !errors.Is(err, errs.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// A str that Python cuts when it makes the list is reported where that can be seen.
func TestListCut(t *testing.T) {
	const code = listHelpers + `
l = ShareableList(["ä" * 5, "€" * 5, "aaaaaaaä", "😀" * 9, "ok"])
print(l.shm.name)
sys.stdin.readline()
l.shm.close(); l.shm.unlink()
`
	each(t, func(t *testing.T, p pythontest.Python) {
		s := python(t, p, code)
		name, _ := s.hear()
		l, err := AttachShareableList(name, nil)
		ok(t, err)
		defer l.Close()
		for i, want := range []any{"ääää", nil, "aaaaaaaä", "😀😀😀😀", "ok"} { // slots of 8, 8, 16, 16 bytes
			v, err := l.At(i)
			if want == nil {
				if !errors.Is(err, errs.ErrCorrupt) || !strings.Contains(err.Error(), "after 6 bytes") {
					t.Errorf("item %d: %v, %v", i, v, err)
				}
			} else if err != nil || v != want {
				t.Errorf("item %d: %q, %v", i, v, err)
			}
		}
		if raw, err := l.Raw(1); err != nil || string(raw) != "€€\xe2\x82" {
			t.Errorf("raw: %q, %v", raw, err)
		}
		s.say("go")
		s.end()
	})
}

func TestListValues(t *testing.T) {
	type id uint16
	_, l := newList(t, []any{id(7), int8(-1), uint64(math.MaxInt64), float32(0.5), "four", []byte("x\x00\x00"), nil, true, big.NewInt(9)}, nil)
	got, err := l.Items()
	ok(t, err)
	if want := []any{int64(7), int64(-1), int64(math.MaxInt64), 0.5, "four", []byte("x"), nil, true, int64(9)}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	for v, want := range map[any]int{7.0: 0, true: 7, 1: 7, "four": 4, "five": -1, 0.5: 3, nil: 6} {
		if i, err := l.Index(v); err != nil || i != want {
			t.Errorf("index of %v: %d, %v", v, i, err)
		}
	}
	if n, err := l.Count([]byte("x")); err != nil || n != 1 {
		t.Errorf("count: %d, %v", n, err)
	}
	if raw, err := l.Raw(5); err != nil || string(raw) != "x\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("raw: %q, %v", raw, err)
	}
	huge := new(big.Int).Lsh(big.NewInt(1), 63)
	for _, tt := range []struct {
		v   any
		err error
	}{
		{uint64(1 << 63), errs.ErrTooLarge}, {huge, errs.ErrTooLarge}, {(*big.Int)(nil), errs.ErrTooLarge}, {"nine byte", errs.ErrTooLarge}, {[]byte("nine byte"), errs.ErrTooLarge},
		{"\xff", errs.ErrIncompatible}, {[]any{}, errs.ErrIncompatible}, {1i, errs.ErrIncompatible}, {&huge, errs.ErrIncompatible},
	} {
		if err := l.Set(4, tt.v); !errors.Is(err, tt.err) {
			t.Errorf("%v: %v, want %v", tt.v, err, tt.err)
		}
		if v, err := l.At(4); err != nil || v != "four" {
			t.Errorf("after %v: %v, %v", tt.v, v, err)
		}
	}
	if _, err := ShareableListSize([]any{strings.Repeat("x", MaxListItem+1)}, nil); !errors.Is(err, errs.ErrTooLarge) {
		t.Errorf("too long: %v", err)
	}
	for _, i := range []int{-1, 9} {
		_, err1 := l.At(i)
		_, err2 := l.Raw(i)
		_, err3 := l.Room(i)
		if err1 == nil || err2 == nil || err3 == nil || l.Set(i, 1) == nil {
			t.Errorf("index %d is taken", i)
		}
	}
	if _, err := NewShareableList(make([]byte, 30), []any{1}, nil); !errors.Is(err, errs.ErrTooLarge) {
		t.Errorf("too little memory: %v", err)
	}
}

// Memory that holds no list, or one that was changed under an open list.
func TestListHostile(t *testing.T) {
	good, _ := newList(t, []any{1, "two", []byte("three")}, nil)
	old, _ := newList(t, []any{1, "two", []byte("three")}, &ListOptions{Python38: true})
	wide, _ := newList(t, []any{1, "two", make([]byte, 20)}, nil)
	put := func(from []byte, off int, v uint64) []byte {
		b := bytes.Clone(from)
		binary.LittleEndian.PutUint64(b[off:], v)
		return b
	}
	for name, b := range map[string][]byte{
		"nothing": {}, "seven": make([]byte, 7), "count": put(good, 0, 1<<60), "negative": put(good, 0, 1<<63), "one more": put(good, 0, 4), "cut": good[:len(good)-1],
		"offset":          put(good, 16, 1<<62),
		"negative offset": put(good, 16, math.MaxUint64-7), "backwards": put(good, 24, 0), "empty slot": put(good, 24, 8), "odd": put(wide, 24, 17), "last": put(good, 32, 4096),
		"old size": put(old, 16, 1<<62), "old negative": put(old, 16, math.MaxUint64-7), "old zero": put(old, 16, 0), "old odd": put(old, 8, 9), "old cut": old[:len(old)-1],
	} {
		if l, err := OpenShareableList(b); !errors.Is(err, errs.ErrCorrupt) {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
	l, err := OpenShareableList(good)
	ok(t, err)
	formats := len(good) - 27
	for _, f := range []string{"", "Q", "s", "-1s", "9999999", "99999s", "24s", "8x", "%s", "\xff", "1e1s"} {
		copy(good[formats+8:], append([]byte(f), make([]byte, 8)...)[:8])
		if v, err := l.At(1); !errors.Is(err, errs.ErrCorrupt) {
			t.Errorf("format %q: %v, %v", f, v, err)
		}
	}
	copy(good[formats+8:], "8s\x00\x00\x00\x00\x00\x00")
	for _, code := range []byte{0, 3, 4, 127, 255} {
		good[len(good)-2] = code
		if v, err := l.At(1); !errors.Is(err, errs.ErrCorrupt) {
			t.Errorf("code %d: %v, %v", code, v, err)
		}
	}
	n := 0
	for _, err := range l.All() {
		if err != nil {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d of three items are errors, want the one", n)
	}
	if err := l.Set(1, "new"); err != nil {
		t.Error(err)
	}
	clear(good[:formats]) // what was learned when it was opened stays
	if v, err := l.At(2); err != nil || !bytes.Equal(v.([]byte), nil) {
		t.Errorf("%q, %v", v, err)
	}
}

// A reader beside a writer without a lock gets values, or errors, and never anything else.
func TestListRace(t *testing.T) {
	l, err := CreateShareableList("", []any{strings.Repeat("x", 30), 0}, &ListOptions{Python38: !pythontest.One(t).AtLeast(9)})
	ok(t, err)
	defer l.Close()
	defer l.Unlink()
	s := python(t, pythontest.One(t), listHelpers+`
l = attach(sys.argv[1])
print("writes")
while l[1] == 0:
    for v in ("y" * 30, b"z" * 30, 7, 1.5, None, True): l[0] = v
l.shm.close()
`, l.Name())
	s.want("writes")
	good, bad := 0, 0
	for range 30_000 {
		switch _, err := l.At(0); {
		case err == nil:
			good++
		case errors.Is(err, errs.ErrCorrupt):
			bad++
		default:
			t.Fatal(err)
		}
	}
	ok(t, l.Set(1, 1))
	s.end()
	if good == 0 {
		t.Error("no read was good")
	}
	t.Logf("%d of %d reads met an item that was being written", bad, good+bad)
}

func TestListTruncated(t *testing.T) {
	l, err := CreateShareableList("", []any{strings.Repeat("x", 100_000), 1}, nil)
	ok(t, err)
	defer l.Close()
	defer l.Unlink()
	ok(t, os.Truncate(l.Segment().Path(), 4096))
	for what, f := range map[string]func() error{
		"at":     func() error { _, err := l.At(1); return err },
		"raw":    func() error { _, err := l.Raw(0); return err },
		"set":    func() error { return l.Set(1, 2) },
		"format": func() error { _, err := l.Format(); return err },
		"index":  func() error { _, err := l.Index(1); return err },
	} {
		if err := f(); !errors.Is(err, errs.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestListSegment(t *testing.T) {
	l, err := CreateShareableList("", []any{1}, nil)
	ok(t, err)
	if _, err := CreateShareableList(l.Name(), []any{1}, nil); !errors.Is(err, errs.ErrExist) {
		t.Errorf("twice: %v", err)
	}
	r, err := AttachShareableList(l.Name(), &ListOptions{Shm: &shm.Options{ReadOnly: true}})
	ok(t, err)
	if err := r.Set(0, 2); !errors.Is(err, os.ErrPermission) {
		t.Errorf("stored read-only: %v", err)
	}
	if v, err := r.At(0); err != nil || v != int64(1) {
		t.Errorf("%v, %v", v, err)
	}
	if s := fmt.Sprint(l); !strings.Contains(s, l.Name()) || !strings.Contains(s, "1 item") {
		t.Error(s)
	}
	ok(t, r.Close())
	ok(t, l.Unlink())
	ok(t, l.Close())
	if _, err := AttachShareableList(l.Name(), nil); !errors.Is(err, errs.ErrNotExist) {
		t.Errorf("unlinked: %v", err)
	}
	_, plain := newList(t, nil, nil)
	if err := plain.Unlink(); !errors.Is(err, errs.ErrUnsupported) {
		t.Error(err)
	}
	ok(t, plain.Close())
}

func FuzzShareableList(f *testing.F) {
	for _, old := range []bool{false, true} {
		for _, items := range [][]any{nil, {1}, {nil, true, 1.5, "text", []byte("bytes"), strings.Repeat("ä", 20)}} {
			b, _ := newList(f, items, &ListOptions{Python38: old})
			f.Add(b, b)
		}
	}
	f.Fuzz(func(t *testing.T, b, later []byte) {
		b = bytes.Clone(b)
		l, err := OpenShareableList(b)
		if err != nil {
			if !errors.Is(err, errs.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		use := func() {
			for i := range l.Len() {
				if v, err := l.At(i); err == nil {
					if err := l.Set(i, v); err != nil {
						t.Fatalf("%v cannot be stored where it was: %v", v, err)
					}
					again, err := l.At(i)
					if err != nil || !equal(v, again) && v == v {
						t.Fatalf("%v became %v, %v", v, again, err)
					}
				} else if !errors.Is(err, errs.ErrCorrupt) {
					t.Fatal(err)
				}
			}
			l.Format()
			l.Index("x")
		}
		use()
		copy(b, later) // somebody writes over all of it
		use()
	})
}
