package pymp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/pythontest"
)

// Values make the way from Python to Go and back, in every protocol of every Python.
func TestPicklePython(t *testing.T) {
	const code = `
import base64, collections, pickle, sys
from multiprocessing.reduction import ForkingPickler
shared = ["shared", b"x"]
deep = []
for _ in range(400): deep = [deep]
values = [
    None, True, False, 0, 1, -1, 255, 256, 65535, 65536, -128, -129, 2**31-1, 2**31, -2**31, -2**31-1,
    2**63-1, 2**63, -2**63, -2**63-1, 2**64, 10**400, -10**400, 1 << 2040, -(1 << 2039), (1 << 20000) + 1, -(1 << 20000),
    0.0, -0.0, 1.5, 1e308, 5e-324, float("inf"), float("-inf"), float("nan"), 0.1, 1+2j, complex(float("nan"), -0.0),
    "", "a", "x"*255, "x"*256, "x"*70000, "ä€😀", "line\nback\\slash\0\r\x1a", "\\u0041", "\xff" * 300,
    b"", b"\x00\xff", b"y"*255, b"y"*256, b"\xfe"*70000, bytearray(), bytearray(b"ab\xff"), bytearray(b"z"*300),
    [], [1, [2, [3]]], list(range(2500)), (), (1,), (1,2), (1,2,3), (1,2,3,4), tuple(range(1500)),
    {}, {"a": 1, "b": [1, 2]}, {1: "int", "1": "str", (1, ("x", b"y")): "tuple", None: 0, b"1": "bytes", 1.5: "f", frozenset([1, (2,)]): "fs", 2**70: "big"},
    {i: str(i) for i in range(2500)}, set(), {1, "a", b"b", (1, 2), None}, set(range(2500)), frozenset(), frozenset({1, 2, frozenset({3})}),
    [shared, shared, {"again": shared}], (shared, (shared, shared)), [bytearray(b"s")] * 3, [(1, 2)] * 5, ["same"] * 5,
    collections.OrderedDict(b=1, a=2), deep, [float("nan"), {"n": float("nan")}], {True: 1, 2: 3}, [[], (), {}, set()],
]
def same(a, b):
    if isinstance(a, collections.OrderedDict): a = dict(a)
    if type(a) is not type(b): return False
    if isinstance(a, float): return repr(a) == repr(b)
    if isinstance(a, complex): return repr(a) == repr(b)
    if isinstance(a, (list, tuple)): return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    if isinstance(a, dict): return list(a) == list(b) and all(same(x, y) for x, y in zip(a.values(), b.values()))
    return a == b
def check(v, p):
    print(base64.b64encode(p).decode())
    got = pickle.loads(base64.b64decode(sys.stdin.readline()))
    if not same(v, got): sys.exit("%.200r came back as %.200r" % (v, got))
sys.setrecursionlimit(5000)
for v in values:
    for proto in range(6):
        try: p = pickle.dumps(v, proto)
        except ValueError: continue # too many digits for text
        check(v, p)
    check(v, bytes(ForkingPickler.dumps(v)))
    check(v, pickle._dumps(v))
`
	each(t, func(t *testing.T, p pythontest.Python) {
		s := python(t, p, code)
		n := 0
		for {
			line, more := s.hear()
			if !more {
				break
			}
			data, err := base64.StdEncoding.DecodeString(line)
			ok(t, err)
			v, err := DecodePickle(data, nil)
			if err != nil {
				t.Fatalf("%.80q: %v", data, err)
			}
			back, err := EncodePickle(v, nil)
			ok(t, err)
			s.say("%s", base64.StdEncoding.EncodeToString(back))
			n++
		}
		s.end()
		if n < 500 {
			t.Errorf("%d pickles only", n)
		}
	})
}

// What Python sends that is no plain data is refused, by name.
func TestPickleRefused(t *testing.T) {
	const code = `
import array, base64, collections, datetime, decimal, fractions, os, pickle, sys, uuid
from multiprocessing import shared_memory
class C:
    def __init__(self): self.x = 1
class Evil:
    def __reduce__(self): return os.system, ("touch " + sys.argv[1],)
class Getattr:
    def __reduce__(self): return getattr, (os, "system")
seg = shared_memory.SharedMemory(create=True, size=1)
slist = shared_memory.ShareableList([1])
for name, v in [("os system", Evil()), ("getattr", Getattr()), ("__main__.C", C()), ("decimal.Decimal", decimal.Decimal(1)), ("datetime.datetime", datetime.datetime(2020,1,1)),
    ("fractions.Fraction", fractions.Fraction(1, 2)), ("uuid.UUID", uuid.uuid4()), ("range", range(3)), ("slice", slice(1)),
    ("collections.deque", collections.deque([1])), ("defaultdict", collections.defaultdict(list)), ("array", array.array("i", [1])), ("print", print),
    ("shared_memory.SharedMemory", seg), ("shared_memory.ShareableList", slist), ("C", [1, {"k": C()}]), ("builtins.set", set), ("ValueError", ValueError("x")), ("Ellipsis", ...)]:
    for proto in range(6):
        try: p = pickle.dumps(v, proto)
        except Exception: continue
        print(name + "\t" + base64.b64encode(p).decode())
l = []; l.append(l)
print("itself\t" + base64.b64encode(pickle.dumps(l)).decode())
t = ([],); t[0].append(t)
print("itself\t" + base64.b64encode(pickle.dumps(t)).decode())
d = {}; d["d"] = [d]
print("itself\t" + base64.b64encode(pickle.dumps(d)).decode())
print("surrogate\t" + base64.b64encode(pickle.dumps("\ud800")).decode())
print("surrogate\t" + base64.b64encode(pickle.dumps("\ud800", 0)).decode())
seg.close(); seg.unlink(); slist.shm.close(); slist.shm.unlink()
`
	each(t, func(t *testing.T, p pythontest.Python) {
		touched := t.TempDir() + "/touched"
		s := python(t, p, code, touched)
		for n := 0; ; n++ {
			line, more := s.hear()
			if !more {
				if n < 60 {
					t.Errorf("%d pickles only", n)
				}
				break
			}
			names, text, _ := strings.Cut(line, "\t")
			data, err := base64.StdEncoding.DecodeString(text)
			ok(t, err)
			v, err := DecodePickle(data, nil)
			if !errors.Is(err, ErrPickle) {
				t.Errorf("%s: %v, %v", names, v, err)
				continue
			}
			for _, name := range strings.Fields(names) {
				if name == "os" { // which is posix inside
					name = "posix"
				}
				if !strings.Contains(err.Error(), name) {
					t.Errorf("%s is not in: %v", name, err)
				}
			}
		}
		s.end()
	})
}

func TestPickleNumPy(t *testing.T) {
	s := python(t, pythontest.WithNumPy(t), `
import base64, numpy, pickle
for v in numpy.zeros(3), numpy.float64(1):
    for p in range(2, 6): print(base64.b64encode(pickle.dumps(v, p)).decode())
`)
	for range 8 {
		line, _ := s.hear()
		data, err := base64.StdEncoding.DecodeString(line)
		ok(t, err)
		if _, err := DecodePickle(data, nil); !errors.Is(err, ErrPickle) || !strings.Contains(err.Error(), "tobytes") {
			t.Errorf("%v", err)
		}
	}
	s.end()
}

func TestPickleGoTypes(t *testing.T) {
	type inner struct{ X int }
	type named string
	type rec struct {
		Name   string `pickle:"name"`
		Skip   int    `pickle:"-"`
		hidden int
		In     inner
		P      *inner
		Nil    *int
	}
	dict := func(kv ...any) *Dict {
		d := NewDict()
		for i := 0; i < len(kv); i += 2 {
			ok(t, d.Set(kv[i], kv[i+1]))
		}
		return d
	}
	huge := new(big.Int).Lsh(big.NewInt(1), 100)
	for _, tt := range []struct{ in, out any }{
		{int8(-3), int64(-3)}, {uint64(math.MaxUint64), new(big.Int).SetUint64(math.MaxUint64)}, {uint16(7), int64(7)},
		{float32(0.5), 0.5}, {complex64(1i), 1i}, {named("n"), "n"}, {*huge, huge}, {huge, huge}, {(*big.Int)(nil), nil},
		{[]int{1, 2}, []any{int64(1), int64(2)}}, {[2]string{"a", "b"}, []any{"a", "b"}}, {[3]byte{1, 2, 3}, []byte{1, 2, 3}},
		{[]named{}, []any{}}, {[]byte(nil), []byte{}}, {map[string]int{"b": 2, "a": 1}, dict("a", int64(1), "b", int64(2))},
		{map[int]bool{2: true, -1: false}, dict(-1, false, 2, true)}, {Tuple{1, "x"}, Tuple{int64(1), "x"}},
		{rec{Name: "n", In: inner{1}, P: &inner{2}, hidden: 3}, dict("name", "n", "In", dict("X", int64(1)), "P", dict("X", int64(2)), "Nil", nil)},
		{*dict("a", 1), dict("a", int64(1))}, {(*Dict)(nil), nil}, {any(nil), nil},
		{Set{int64(1), 1.0, true}, Set{int64(1)}}, {FrozenSet{"a"}, FrozenSet{"a"}}, {ByteArray("x"), ByteArray("x")},
	} {
		p, err := EncodePickle(tt.in, nil)
		if err != nil {
			t.Errorf("%#v: %v", tt.in, err)
			continue
		}
		got, err := DecodePickle(p, nil)
		ok(t, err)
		if !sameValue(got, tt.out) {
			t.Errorf("%#v comes back as %#v, want %#v", tt.in, got, tt.out)
		}
	}
	cycle := []any{nil}
	cycle[0] = cycle
	wide := []any{nil, nil}
	wide[0], wide[1] = wide, wide
	type ring struct{ Next *ring }
	r := &ring{}
	r.Next = r
	for _, tt := range []struct {
		in  any
		err error
	}{
		{func() {}, errs.ErrIncompatible}, {make(chan int), errs.ErrIncompatible}, {"\xff", errs.ErrIncompatible}, {[]any{func() {}}, errs.ErrIncompatible},
		{struct{ x int }{}, errs.ErrIncompatible}, {cycle, errs.ErrTooLarge}, {wide, errs.ErrTooLarge}, {r, errs.ErrTooLarge},
	} {
		if _, err := EncodePickle(tt.in, nil); !errors.Is(err, tt.err) {
			t.Errorf("%T: %v, want %v", tt.in, err, tt.err)
		}
	}
}

func sameValue(a, b any) bool {
	return cmp.Equal(a, b, cmp.Comparer(func(x, y *big.Int) bool { return x.Cmp(y) == 0 }),
		cmp.Comparer(func(x, y *Dict) bool {
			return slices.EqualFunc(x.keys, y.keys, func(p, q any) bool { return reflect.DeepEqual(number(p), number(q)) }) && sameValue(x.values, y.values)
		}))
}

// Small pickles that ask for much.
func TestPickleBombs(t *testing.T) {
	laughs := "Nq\x00" // each list holds the one before ten times
	for i := range 30 {
		laughs += "0]q" + string(rune(i+1)) + "("
		for range 10 {
			laughs += "h" + string(rune(i))
		}
		laughs += "e"
	}
	tuples := "K\x01q\x000" // a key that doubles
	for i := range 60 {
		tuples += "h" + string(rune(i)) + "h" + string(rune(i)) + "\x86q" + string(rune(i+1)) + "0"
	}
	longKey := "X\x00\x00\x40\x00" + strings.Repeat("k", 4<<20) + "q\x000"
	for range 100 {
		longKey += "}h\x00Ns"
	}
	for name, tt := range map[string]struct {
		p   string
		err error
	}{
		"laughs":       {laughs + ".", errs.ErrTooLarge},
		"laughs left":  {"(" + laughs + "l.", errs.ErrTooLarge},
		"tuple key":    {"}" + tuples + "h\x3cNs.", errs.ErrTooLarge},
		"long keys":    {"(" + longKey + "l.", errs.ErrTooLarge},
		"lists":        {strings.Repeat("]", 3<<20), errs.ErrTooLarge},
		"marks":        {strings.Repeat("(", 3<<20), errs.ErrTooLarge},
		"memo":         {"N" + strings.Repeat("\x94", 3<<20), errs.ErrTooLarge},
		"deep":         {strings.Repeat("(", 1<<20) + "N" + strings.Repeat("l", 1<<20) + ".", errs.ErrTooLarge},
		"length":       {"B\xff\xff\xff\x7f.", ErrPickle},
		"length 8":     {"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", ErrPickle},
		"length -1":    {"\x8b\xff\xff\xff\xff.", ErrPickle},
		"frame":        {"\x95\xff\xff\xff\xff\xff\xff\xff\xff.", ErrPickle},
		"digits":       {"L" + strings.Repeat("9", 5000) + "L\n.", ErrPickle},
		"float digits": {"F" + strings.Repeat("9", 5000) + "\n.", ErrPickle},
		"copies":       {"cbuiltins\nbytearray\nq\x00B\x00\x00\x10\x00" + strings.Repeat("x", 1<<20) + "q\x01(" + strings.Repeat("h\x00h\x01\x85R", 10) + "l.", ErrPickle},
		"set copies":   {"cbuiltins\nset\nq\x00](" + strings.Repeat("N", 1<<19) + "eq\x01(" + strings.Repeat("h\x00h\x01\x85R", 100) + "l.", errs.ErrTooLarge},
		"empty":        {"", ErrPickle},
		"no stop":      {"N", ErrPickle},
		"two":          {"NN.", ErrPickle},
		"nothing":      {".", ErrPickle},
		"more":         {"N.N", ErrPickle},
		"mark":         {"(.", ErrPickle},
		"underflow":    {"a.", ErrPickle},
		"below mark":   {"](K\x01(a.", ErrPickle},
		"no memo":      {"h\x07.", ErrPickle},
		"odd dict":     {"(Nd.", ErrPickle},
		"odd items":    {"}(Nu.", ErrPickle},
		"list key":     {"}]Ns.", ErrPickle},
		"dict member":  {"\x8f(}\x90.", ErrPickle},
		"not a list":   {"NNa.", ErrPickle},
		"tuple grows":  {")Na.", ErrPickle},
		"protocol":     {"\x80\x06N.", ErrPickle},
		"persistent":   {"Pid\n.", ErrPickle},
		"extension":    {"\x82\x01.", ErrPickle},
		"buffer":       {"\x97.", ErrPickle},
		"python 2":     {"U\x01a.", ErrPickle},
		"instance":     {"(ios\nsystem\n.", ErrPickle},
		"global alone": {"cbuiltins\nset\n.", ErrPickle},
		"global in":    {"]cbuiltins\nset\na.", ErrPickle},
		"escape":       {"V\\uZZZZ\n.", ErrPickle},
		"escape cut":   {"V\\u00\n.", ErrPickle},
		"no number":    {"I1x\n.", ErrPickle},
		"no float":     {"Fx\n.", ErrPickle},
		"line":         {"I1", ErrPickle},
		"unknown":      {"\xff.", ErrPickle},
		"newobj":       {")\x81.", ErrPickle},
	} {
		if v, err := DecodePickle([]byte(tt.p), nil); !errors.Is(err, tt.err) {
			t.Errorf("%s: %.80v, %v", name, v, err)
		}
	}
}

func TestPickleLimits(t *testing.T) {
	p, err := EncodePickle(make([]any, 100), nil)
	ok(t, err)
	for limit, want := range map[int]error{101: nil, 100: errs.ErrTooLarge} {
		if _, err := DecodePickle(p, &PickleLimits{MaxObjects: limit}); !errors.Is(err, want) {
			t.Errorf("%d objects: %v", limit, err)
		}
		if _, err := EncodePickle(make([]any, 100), &PickleLimits{MaxObjects: limit}); !errors.Is(err, want) {
			t.Errorf("encode %d objects: %v", limit, err)
		}
	}
	deep := any("x")
	for range 50 {
		deep = []any{deep}
	}
	p, err = EncodePickle(deep, nil)
	ok(t, err)
	for limit, want := range map[int]error{50: nil, 49: errs.ErrTooLarge} {
		if _, err := DecodePickle(p, &PickleLimits{MaxDepth: limit}); !errors.Is(err, want) {
			t.Errorf("depth %d: %v", limit, err)
		}
		if _, err := EncodePickle(deep, &PickleLimits{MaxDepth: limit}); !errors.Is(err, want) {
			t.Errorf("encode depth %d: %v", limit, err)
		}
	}
	if _, err := DecodePickle(p, &PickleLimits{MaxDepth: -1}); err == nil {
		t.Error("a negative limit is taken")
	}
}

func TestDict(t *testing.T) {
	d := NewDict()
	for _, kv := range [][2]any{{1, "a"}, {true, "b"}, {1.0, "c"}, {"1", "d"}, {[]byte("1"), "e"}, {Tuple{1, 2.0}, "f"}, {FrozenSet{1, 2}, "g"}, {nil, "h"}, {big.NewInt(1), "i"}, {1 + 0i, "j"}} {
		ok(t, d.Set(kv[0], kv[1]))
	}
	if d.Len() != 6 {
		t.Errorf("%d entries: %s", d.Len(), d)
	}
	for _, kv := range [][2]any{{int64(1), "j"}, {"1", "d"}, {Tuple{int64(1), 2}, "f"}, {FrozenSet{2, 1, 1.0}, "g"}, {nil, "h"}} {
		if v, ok := d.Get(kv[0]); !ok || v != kv[1] {
			t.Errorf("%v: %v", kv[0], v)
		}
	}
	if err := d.Set([]any{}, 1); err == nil {
		t.Error("a list as key")
	}
	if _, ok := d.Get([]any{}); ok {
		t.Error("a list found")
	}
	if _, err := d.Map(); !errors.Is(err, errs.ErrIncompatible) {
		t.Errorf("as a map: %v", err)
	}
	n := 0
	for range d.All() {
		if n++; n == 2 {
			break
		}
	}
}

func FuzzDecodePickle(f *testing.F) {
	for _, v := range []any{nil, 1, 1 << 40, new(big.Int).Lsh(big.NewInt(1), 999), 1.5, 1i, "ä", []byte("x"), ByteArray("x"), []any{1, Tuple{2}}, Set{1}, FrozenSet{"a"}, map[string]any{"a": 1}} {
		p, err := EncodePickle(v, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	for _, s := range []string{
		"c__builtin__\nset\np0\n((lp1\nI1\natp2\nRp3\n.", "c_codecs\nencode\np0\n(Vab\xff\np1\nVlatin1\np2\ntp3\nRp4\n.", "F1.5\n.", "L123L\n.", "V\\u0041\n.", "I01\n.",
		"\x80\x02]q\x00(h\x00e.", "ccollections\nOrderedDict\n)R(K\x01K\x02u.", "(K\x010N.", "N2\x86.", "\x80\x05\x96\x01\x00\x00\x00\x00\x00\x00\x00a.", "(dK\x01)s.",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		limits := &PickleLimits{MaxObjects: 10000}
		v, err := DecodePickle(data, limits)
		if err != nil {
			if !errors.Is(err, ErrPickle) && !errors.Is(err, errs.ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		// What was read can be written, and then stays the same.
		p, err := EncodePickle(v, nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodePickle(p, nil)
		if err != nil {
			t.Fatal(err)
		}
		q, err := EncodePickle(again, nil)
		if err != nil || !bytes.Equal(p, q) {
			t.Fatalf("%v: %s and %s differ", err, strconv.Quote(string(p)), strconv.Quote(string(q)))
		}
	})
}
