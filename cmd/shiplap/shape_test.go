package main

import (
	"bytes"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/schema"
)

type shapedMessage struct {
	Name  string            `json:"name"`
	Tags  []string          `json:"tags"`
	Size  *uint8            `json:"size"`
	Data  []byte            `json:"data"`
	At    time.Time         `json:"at"`
	Pair  [2]float32        `json:"pair"`
	More  map[string]int    `json:"more"`
	Any   any               `json:"any"`
	Inner struct{ On bool } `json:"inner"`
	Dash  int               `json:"a-b"`
}

func describeType[T any](t testing.TB, c schema.Codec) *wording {
	t.Helper()
	d, err := schema.Describe(reflect.TypeFor[T](), c)
	if err != nil {
		t.Fatal(err)
	}
	w, err := wordingOf(d.Text, false)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

const wholeMessage = `{"a-b":-3,"any":[1,2.5,"x",null],"at":"2026-01-02T03:04:05Z","data":"AP8=","inner":{"On":true},"more":{"k":7},"name":"n","pair":[0.5,1],"size":255,"tags":["a","b"]}`

// What is written of JSON is what a program of that type reads, and comes back as the same JSON.
func TestWordingThereAndBack(t *testing.T) {
	for _, c := range []schema.Codec{schema.CBOR, schema.JSON} {
		w := describeType[shapedMessage](t, c)
		b, err := w.parse([]byte(wholeMessage))
		if err != nil {
			t.Fatal(err)
		}
		var m shapedMessage
		if err := c.Decode(b, &m); err != nil {
			t.Fatalf("%s: a program cannot read it: %v", c, err)
		}
		if m.Name != "n" || *m.Size != 255 || string(m.Data) != "\x00\xff" || m.At.Year() != 2026 || m.Pair[0] != 0.5 || m.More["k"] != 7 || !m.Inner.On || m.Dash != -3 {
			t.Errorf("%s: a program reads %+v", c, m)
		}
		if text, err := w.appendText(nil, b); err != nil || string(text) != wholeMessage {
			t.Errorf("%s: it comes back as %s (%v)", c, text, err)
		}
	}
}

func TestWordingRefuses(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`5`, "not an object with"},
		{`{"nam":"n"}`, `no field "nam"`},
		{`{"name":5}`, "name: 5 is not a string"},
		{`{"size":256}`, "size: 256 is not a u8"},
		{`{"size":1.5}`, "not a u8"},
		{`{"pair":[1]}`, "not a list of 2"},
		{`{"tags":["a",1]}`, "tags: [1]: 1 is not a string"},
		{`{"data":"%"}`, "not a string of base64"},
		{`{"at":"today"}`, "not a time"},
		{`{"more":[]}`, "not an object"},
		{`{"inner":{"On":1}}`, "inner: On: 1 is not a bool"},
		{`{"name":`, "no JSON"},
		{`{} {}`, "no JSON"},
		{`hello`, "no JSON"},
	} {
		for _, c := range []schema.Codec{schema.CBOR, schema.JSON} {
			if _, err := describeType[shapedMessage](t, c).parse([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s as %s: %v, want %q", tt.text, c, err, tt.want)
			}
		}
	}
	type linked struct {
		S    string
		Next *linked
	}
	type listed struct {
		_ struct{} `cbor:",toarray"`
		A int
		B string
	}
	type pointed *pointed
	for _, tt := range []struct {
		w          *wording
		text, want string
	}{
		{describeType[linked](t, schema.CBOR), `{"S":"a","Next":{"S":5}}`, "Next: S: 5 is not a string"},
		{describeType[listed](t, schema.CBOR), `[1]`, "not a list of 2: A, B"},
		{describeType[listed](t, schema.CBOR), `[1,2]`, "B: 2 is not a string"},
		{describeType[[3]byte](t, schema.CBOR), `"AQI="`, "not a string of base64 of 3 bytes"},
		{describeType[big.Int](t, schema.CBOR), `1.5`, "not a whole number"},
		{describeType[map[int8]string](t, schema.CBOR), `{"300":"a"}`, "is not a i8"},
		{describeType[map[int]string](t, schema.JSON), `{"x":"a"}`, "is not a i64"},
		{describeType[map[[2]int]string](t, schema.CBOR), `{"[1,2]":"a"}`, "no such keys"},
		{describeType[netip.Addr](t, schema.CBOR), `"::1"`, "only programs know how a net/netip.Addr is written"},
		{describeType[pointed](t, schema.CBOR), `5`, "points to itself"},
		{describeType[struct {
			N int `json:",string"`
		}](t, schema.JSON), `{"N":5}`, "not a string with a i64 in it"},
		{describeType[time.Time](t, schema.JSON), `null`, "not a time"},
		{describeType[any](t, schema.CBOR), `1e999`, "no number that fits"},
	} {
		if b, err := tt.w.parse([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s as %s: %x, %v, want %q", tt.text, tt.w.desc, b, err, tt.want)
		}
	}
	w, err := wordingOf("cbor:#"+strings.Repeat("0", 64), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.parse([]byte("5")); err == nil {
		t.Error("a type that nobody knows was written")
	}
}

// What one program writes is shown, and what is shown makes the same message again.
func TestWordingGoesRound(t *testing.T) {
	type linked struct {
		S    string
		Next *linked
	}
	type numbered struct {
		A int     `cbor:"1,keyasint"`
		B float64 `cbor:"-2,keyasint"`
	}
	type listed struct {
		_ struct{} `cbor:",toarray"`
		A int
		B []byte
	}
	type all struct {
		K    [3]byte
		Z    string
		T    time.Time
		M    map[string]int
		B    []byte
		L    []int
		N    *big.Int
		F    float32
		Any  any
		By   map[int8]numbered
		On   map[bool]linked
		Time *time.Time
		List listed
		Addr any
	}
	large, _ := new(big.Int).SetString("18446744073709551617", 10)
	roundTrip(t, schema.CBOR, all{K: [3]byte{1, 2, 3}})
	roundTrip(t, schema.CBOR, all{
		T: time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC), N: large, F: 0.1,
		Any: []any{5, 5.0, 1e300, uint64(1 << 63), large, map[string]any{"a": true}, nil},
		By:  map[int8]numbered{-3: {5, 1}, 4: {}}, On: map[bool]linked{true: {"a", &linked{"b", nil}}},
		List: listed{A: 7, B: []byte{0, 255}},
	})
	roundTrip(t, schema.JSON, struct {
		T   time.Time
		N   *big.Int
		Any any
		By  map[int8]float32
	}{time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC), large, []any{5, 5.0, 1e20, large, nil}, map[int8]float32{-3: 0.1}})
	roundTrip(t, schema.CBOR, map[int]string{1: "a"})
	roundTrip(t, schema.CBOR, numbered{1, 2})
	roundTrip[any](t, schema.CBOR, 9007199254740993)
	roundTrip(t, schema.CBOR, map[float64]int{0.5: 1, math.Inf(1): 2})
}

// roundTrip shows the message of v and makes one of the text again.
func roundTrip[T any](t *testing.T, c schema.Codec, v T) {
	t.Helper()
	w := describeType[T](t, c)
	b, err := c.Append(nil, &v)
	if err != nil {
		t.Fatal(err)
	}
	text, err := w.appendText(nil, b)
	if err != nil {
		t.Fatalf("%s: %x: %v", w.desc, b, err)
	}
	again, err := w.parse(text)
	if err != nil {
		t.Fatalf("%s: %s: %v", w.desc, text, err)
	}
	same := bytes.Equal(b, again)
	if c == schema.JSON {
		one, _ := decodeText(b)
		other, err := decodeText(again)
		same = err == nil && reflect.DeepEqual(one, other)
	}
	if !same {
		t.Errorf("%s: %x, shown as %s, becomes %x", w.desc, b, text, again)
	}
}

func TestWordingScalars(t *testing.T) {
	for _, tt := range []struct {
		w    *wording
		text string
	}{
		{describeType[string](t, schema.CBOR), `"text"`},
		{describeType[any](t, schema.CBOR), `{"a":[1,-2,18446744073709551615,0.1,true,null]}`},
		{describeType[uint64](t, schema.JSON), `18446744073709551615`},
		{describeType[int32](t, schema.Auto), `-7`},
		{describeType[struct{ X, Y float64 }](t, schema.Auto), `{"X":1.5,"Y":-2}`},
		{describeType[[]byte](t, schema.Auto), "bytes \x00\xff"},
	} {
		b, err := tt.w.parse([]byte(tt.text))
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if text, err := tt.w.appendText([]byte("> "), b); err != nil || string(text) != "> "+tt.text {
			t.Errorf("%s comes back as %s (%v)", tt.text, text, err)
		}
	}
}

// Types come from shared memory, and text from wherever: nothing of it may end in a panic.
func FuzzWording(f *testing.F) {
	for _, typ := range []string{"bytes", "cbor:any", `json:{name:str,"a b":[2]?u8}`, `cbor:(1:i8)`, `cbor:map[str][]^1`, `cbor:@"x"`, "fixed:[2]<f4", "cbor:#00"} {
		for _, text := range []string{wholeMessage, "5", `"x"`, `[[1]]`, "", "\xff"} {
			f.Add(typ, []byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, typ string, text []byte) {
		w, err := wordingOf(typ, false)
		if err != nil || w.layout != nil && w.layout.Size > 1<<20 {
			return
		}
		_, _ = w.appendText(nil, text)
		_, _ = w.appendObject(nil, text)
		b, err := w.parse(text)
		if err != nil {
			return
		}
		if _, err := w.appendText(nil, b); err != nil && w.desc.Codec != schema.CBOR {
			t.Errorf("%s: %q became %q, which cannot be read: %v", typ, text, b, err)
		}
	})
}
