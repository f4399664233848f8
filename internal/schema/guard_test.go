package schema

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

type job struct {
	Name string
	Due  time.Time
	Args map[string]any
	Next *job
}

type keyed struct {
	A int `cbor:"1,keyasint"`
}

var never = time.Unix(1<<63-62135596801, 999999999)

// What no reader could decode is refused, and the error says where it stands.
func TestUnreadable(t *testing.T) {
	self := map[string]any{}
	self["self"] = self
	ring := &job{}
	ring.Next = ring
	var loop any
	loop = &loop
	list := []any{nil}
	list[0] = list
	for name, tt := range map[string]struct {
		v      any
		codecs []Codec
		want   string
	}{
		"far year":      {&job{Due: never}, []Codec{CBOR, JSON}, "job.Due: year 292277024627 cannot be written"},
		"before year 0": {&job{Due: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)}, []Codec{CBOR, JSON}, "job.Due: year -1"},
		"year in a list": {
			[]any{1, map[string]any{"due": never}}, []Codec{CBOR, JSON}, `[1]["due"]: year`,
		},
		"year in any": {&job{Args: map[string]any{"x": never}}, []Codec{CBOR, JSON}, `job.Args["x"]: year`},
		"year by pointers": {
			&job{Next: &job{Due: never}}, []Codec{CBOR, JSON}, "job.Next.Due: year",
		},
		"cyclic map":     {self, []Codec{CBOR, JSON}, "or it contains itself"},
		"cyclic list":    {list, []Codec{CBOR, JSON}, "or it contains itself"},
		"cyclic pointer": {ring, []Codec{CBOR, JSON}, "or it contains itself"},
		"cyclic any":     {&loop, []Codec{CBOR, JSON}, "or it contains itself"},
		"keys alike": {
			map[any]string{int8(1): "a", int16(1): "b"}, []Codec{CBOR}, "[1]: two keys of the map are written alike",
		},
		"list as key":       {map[any]string{[2]int{1, 2}: "a"}, []Codec{CBOR}, "[[1 2]]: it would not come back as a key"},
		"list as key inner": {[]any{map[[2]int]string{{1, 2}: "a"}}, []Codec{CBOR}, "[0][[1 2]]: it would not come back"},
		"large key":         {[]any{map[uint64]int{1 << 63: 1}}, []Codec{CBOR}, "it would not come back"},
		"NaN twice":         {map[float64]int{math.NaN(): 1, math.NaN(): 2}, []Codec{CBOR}, "written alike"},
		"function":          {[]any{1, func() {}}, []Codec{CBOR, JSON}, "[1]: it is a function"},
		"channel":           {&job{Args: map[string]any{"c": make(chan int)}}, []Codec{CBOR, JSON}, `job.Args["c"]: it is a channel`},
		"error":             {[]any{errors.New("lost")}, []Codec{CBOR, JSON}, "of whose fields none is exported"},
		"NaN":               {[]any{1.5, math.NaN()}, []Codec{JSON}, "[1]: NaN cannot be written as JSON"},
		"NaN in a field":    {&struct{ A []float64 }{[]float64{1, math.Inf(1)}}, []Codec{JSON}, "A[1]: +Inf cannot be written as JSON"},
		"odd key":           {[]any{map[bool]int{true: 1}}, []Codec{JSON}, "[0]: it is a map[bool]int"},
		"no address":        {map[string]big.Int{"a": *big.NewInt(1)}, []Codec{JSON}, "make them pointers"},
		"raw": {
			[]any{cbor.RawMessage("\xa2\x01\x01\x01\x02")}, []Codec{CBOR}, "[0]: ",
		},
	} {
		for _, c := range tt.codecs {
			b, err := c.Append([]byte("head"), tt.v)
			if err == nil || string(b) != "head" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s, %s: %d bytes, %v, want an error with %q", name, c, len(b), err, tt.want)
			}
		}
	}
}

// A value inside any comes back as what any has for it.
func TestAnyComesBack(t *testing.T) {
	large, _ := new(big.Int).SetString("18446744073709551617", 10)
	when := time.Date(2026, 2, 3, 4, 5, 6, 789, time.FixedZone("", 3600))
	one := 1
	for name, tt := range map[string]struct {
		v      any
		want   any
		codecs []Codec
	}{
		"whole":          {5, int64(5), []Codec{CBOR, JSON}},
		"beyond 2^53":    {uint64(9007199254740993), int64(9007199254740993), []Codec{CBOR, JSON}},
		"beyond int64":   {uint64(math.MaxUint64), *new(big.Int).SetUint64(math.MaxUint64), []Codec{CBOR, JSON}},
		"big":            {large, *large, []Codec{CBOR, JSON}},
		"big value":      {*large, *large, []Codec{CBOR, JSON}},
		"number":         {json.Number("18446744073709551617"), *large, []Codec{CBOR, JSON}},
		"small number":   {json.Number("7"), int64(7), []Codec{CBOR, JSON}},
		"whole float":    {5.0, 5.0, []Codec{CBOR, JSON}},
		"large float":    {1e20, 1e20, []Codec{CBOR, JSON}},
		"larger float":   {1e300, 1e300, []Codec{CBOR, JSON}},
		"fraction":       {float32(0.5), 0.5, []Codec{CBOR, JSON}},
		"minus zero":     {math.Copysign(0, -1), math.Copysign(0, -1), []Codec{CBOR, JSON}},
		"number keys":    {map[int]string{1: "a"}, map[any]any{int64(1): "a"}, []Codec{CBOR}},
		"mixed keys":     {map[any]any{1: "a", "b": true}, map[any]any{int64(1): "a", "b": true}, []Codec{CBOR}},
		"bool keys":      {map[bool]int{true: 1}, map[any]any{true: int64(1)}, []Codec{CBOR}},
		"field numbers":  {keyed{5}, map[any]any{int64(1): int64(5)}, []Codec{CBOR}},
		"array":          {[2]int{1, 2}, []any{int64(1), int64(2)}, []Codec{CBOR, JSON}},
		"pointer":        {&one, int64(1), []Codec{CBOR, JSON}},
		"time":           {when, when, []Codec{CBOR}},
		"address":        {netip.MustParseAddr("::1"), []byte(netip.MustParseAddr("::1").AsSlice()), []Codec{CBOR}},
		"struct with it": {struct{ N big.Int }{*large}, map[string]any{"N": *large}, []Codec{CBOR, JSON}},
		"text maps in others": {
			map[int]any{1: map[string]any{"a": []any{map[string]int{}}}},
			map[any]any{int64(1): map[string]any{"a": []any{map[string]any{}}}}, []Codec{CBOR},
		},
	} {
		for _, c := range tt.codecs {
			type holder struct {
				A int
				V any
			}
			for _, put := range []any{&tt.v, []any{tt.v}, map[string]any{"v": tt.v}, &holder{1, tt.v}} {
				b, err := c.Append(nil, put)
				if err != nil {
					t.Errorf("%s, %s: %v", name, c, err)
					continue
				}
				got := reflect.New(reflect.TypeOf(put))
				into := got.Interface()
				if got.Elem().Kind() == reflect.Pointer {
					got.Elem().Set(reflect.New(got.Type().Elem().Elem()))
					into = got.Elem().Interface()
				}
				if err := c.Decode(b, into); err != nil {
					t.Errorf("%s, %s, in a %T: %v", name, c, put, err)
					continue
				}
				var v any
				switch got := into.(type) {
				case *any:
					v = *got
				case *[]any:
					v = (*got)[0]
				case *map[string]any:
					v = (*got)["v"]
				case *holder:
					v = got.V
				}
				numbers := cmp.Comparer(func(a, b big.Int) bool { return a.Cmp(&b) == 0 })
				floats := cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })
				if diff := cmp.Diff(tt.want, v, numbers, floats); diff != "" {
					t.Errorf("%s, %s, in a %T, came back from %q (-want +got)\n%s", name, c, put, b, diff)
				}
			}
		}
	}
}

// RFC 3339 has no seconds in offsets, and the instant is what counts.
func TestTimesKeepTheirInstant(t *testing.T) {
	type base struct{ At time.Time }
	type event struct {
		*base
		When   time.Time
		Others []any
		By     map[string]time.Time
		Next   *event
		Kept   time.Time
	}
	odd := time.Date(1930, 1, 2, 3, 4, 5, 6, time.FixedZone("AMT", 19*60+32))
	far := time.Date(1930, 1, 2, 3, 4, 5, 6, time.FixedZone("far", 90000))
	kept := time.Date(1930, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))
	sent := event{When: odd, Others: []any{odd, "x"}, By: map[string]time.Time{"a": far}, Next: &event{When: odd}, Kept: kept}
	for _, c := range []Codec{CBOR, JSON} {
		b, err := c.Append(nil, &sent)
		if err != nil {
			t.Fatal(err)
		}
		var got event
		if err := c.Decode(b, &got); err != nil {
			t.Fatal(err)
		}
		other, _ := got.Others[0].(time.Time)
		if c == JSON {
			text, _ := got.Others[0].(string)
			if other, err = time.Parse(time.RFC3339, text); err != nil {
				t.Error(err)
			}
		}
		if !got.When.Equal(odd) || !other.Equal(odd) || !got.By["a"].Equal(far) || !got.Next.When.Equal(odd) {
			t.Errorf("%s: %s came back as %+v", c, b, got)
		}
		if _, off := got.Kept.Zone(); !got.Kept.Equal(kept) || off != 3600 {
			t.Errorf("%s: %v came back as %v", c, kept, got.Kept)
		}
		if sent.When.Location() != odd.Location() || sent.Others[0] != any(odd) || sent.Next.When != odd {
			t.Errorf("%s: the value that was sent has changed", c)
		}
	}
	if _, err := CBOR.Append(nil, &event{base: &base{odd}}); err == nil {
		t.Error("a time that cannot be rewritten was encoded")
	}
}

// Types without anything to look at are not looked at.
func TestGuardsOfTypes(t *testing.T) {
	type flat struct {
		A int
		B []string
		C map[string][]float64
		D *[3]bool
		E map[int8]struct{ X, Y float32 }
	}
	for _, typ := range []reflect.Type{
		reflect.TypeFor[flat](), reflect.TypeFor[[]byte](), reflect.TypeFor[map[netip.Addr]string](), reflect.TypeFor[big.Int](),
	} {
		if guardOf(typ, place{codec: CBOR}) != nil {
			t.Errorf("%v is looked at", typ)
		}
	}
	deep := reflect.TypeFor[quad[quad[quad[quad[quad[quad[quad[quad[quad[quad[int8]]]]]]]]]]]()
	if guardOf(deep, place{codec: CBOR}) != nil {
		t.Errorf("4^10 fields are looked at")
	}
	if guardOf(reflect.TypeFor[flat](), place{codec: JSON}) != nil {
		t.Error("floats are looked at before the encoder has looked")
	}
}

// Names of fields are compared byte by byte.
func TestNamesOfFields(t *testing.T) {
	b, err := CBOR.Append(nil, map[string]int{"NAME": 2})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Name int
	}
	if err := CBOR.Decode(b, &got); err != nil || got.Name != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	nan := math.Float64frombits(0xfff8000000001234)
	if b, err = CBOR.Append(nil, nan); err != nil {
		t.Fatal(err)
	}
	var back float64
	if err := CBOR.Decode(b, &back); err != nil || math.Float64bits(back) != math.Float64bits(nan) {
		t.Errorf("NaN came back as %x, %v", math.Float64bits(back), err)
	}
}

// A value that is too deep is refused before it is encoded, at the same depth at which readers stop.
func TestDepth(t *testing.T) {
	nest := func(n int) any {
		var v any = 1
		for range n {
			v = []any{v}
		}
		return v
	}
	for n, want := range map[int]bool{maxLevels: true, maxLevels + 1: false, 1 << 16: false} {
		b, err := CBOR.Append(nil, nest(n))
		if (err == nil) != want {
			t.Errorf("%d levels: %v", n, err)
		}
		var v any
		if err == nil {
			err = CBOR.Decode(b, &v)
		}
		if want && err != nil {
			t.Errorf("%d levels do not come back: %v", n, err)
		}
	}
	if _, err := JSON.Append(nil, nest(1<<16)); err == nil || errors.Is(err, errs.ErrCorrupt) {
		t.Errorf("JSON: %v", err)
	}
}
