package main

import (
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
	if _, err := describeType[map[int]string](t, schema.CBOR).parse([]byte(`{"1":"a"}`)); err == nil {
		t.Error("a key that is a number was written as text")
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
