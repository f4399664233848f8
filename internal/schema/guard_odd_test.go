package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// folded keys are written in small letters: two of them may be one.
type folded string

func (f folded) MarshalText() ([]byte, error)  { return []byte(strings.ToLower(string(f))), nil }
func (f *folded) UnmarshalText(b []byte) error { *f = folded(b); return nil }

// mute can be written, and not read.
type mute struct{ A int }

func (mute) MarshalText() ([]byte, error) { return []byte("mute"), nil }

// grade is a float in an interface that holds no other numbers.
type grade float64

func (g grade) Error() string { return fmt.Sprint(float64(g)) }

type inner struct{ X int }

// What types with methods of their own, tags and raw parts bring along is looked at, too.
func TestUnreadableParts(t *testing.T) {
	cyclic := map[string]any{}
	cyclic["tag"] = cbor.Tag{Number: 1000, Content: cyclic}
	type named struct{ N json.Number }
	type pointed struct {
		*inner
		Y int
	}
	type listed struct {
		_ struct{} `cbor:",toarray"`
		*inner
		Y int
	}
	for name, tt := range map[string]struct {
		v     any
		codec Codec
		want  string
	}{
		"cyclic by a tag":      {cyclic, CBOR, "or it contains itself"},
		"keys folded":          {map[folded]int{"A": 1, "a": 2}, CBOR, "written alike"},
		"keys folded, in any":  {[]any{map[folded]int{"A": 1, "a": 2}}, CBOR, "written alike"},
		"raw number":           {[]any{json.RawMessage("1e999")}, JSON, "[0]: \"1e999\" is no number that fits"},
		"number in a field":    {[]any{named{"1e999"}}, JSON, "[0].N: \"1e999\" is no number that fits"},
		"null as a key":        {[]any{map[any]int{nil: 1}}, CBOR, "null as a key"},
		"only written":         {[]mute{{1}}, CBOR, "has MarshalText, but not UnmarshalText"},
		"only written, JSON":   {[]mute{{1}}, JSON, "has MarshalText, but not UnmarshalText"},
		"behind a pointer":     {pointed{&inner{1}, 2}, CBOR, "*schema.inner, which is not exported"},
		"behind it, JSON":      {pointed{&inner{1}, 2}, JSON, "*schema.inner, which is not exported"},
		"behind it, in a list": {listed{Y: 2}, CBOR, "*schema.inner, which is not exported"},
	} {
		if b, err := tt.codec.Append(nil, tt.v); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %q, %v, want an error with %q", name, b, err, tt.want)
		}
	}
	for _, c := range []Codec{CBOR, JSON} {
		var got pointed
		b, err := c.Append(nil, &pointed{Y: 2})
		if err == nil {
			err = c.Decode(b, &got)
		}
		if err != nil || got.Y != 2 {
			t.Errorf("nothing behind the pointer, %s: %+v, %v", c, got, err)
		}
	}
}

// What is readable is not refused because it looks odd.
func TestOddButReadable(t *testing.T) {
	tuples := cbor.RawMessage("\xa1\x82\x01\x02\x03") // {(1, 2): 3}
	b, err := CBOR.Append(nil, struct{ Raw cbor.RawMessage }{tuples})
	if err != nil {
		t.Fatal(err)
	}
	var raw struct{ Raw cbor.RawMessage }
	if err := CBOR.Decode(b, &raw); err != nil || string(raw.Raw) != string(tuples) {
		t.Errorf("%q came back as %q, %v", tuples, raw.Raw, err)
	}
	for _, tt := range []struct {
		v     any
		codec Codec
		want  string
	}{
		{struct{ V fmt.Stringer }{json.Number("5")}, CBOR, "map[V:5]"},
		{struct{ V error }{grade(5)}, JSON, "map[V:float64(5)]"},
		{[]any{[]float64{1, 2.5}, [2][1]float32{{1}, {2}}}, JSON, "[[float64(1) float64(2.5)] [[float64(1)] [float64(2)]]]"},
		{map[string]float64{"a": 1, "b": 2.5}, JSON, "map[a:float64(1) b:float64(2.5)]"},
		{&measured{1, 0, 0, 3, 4, nil}, JSON, "map[A:float64(1) C:float64(0) D:3 e:4]"},
		{measured{P: &measured{A: 1.5, C: 2}}, JSON, "map[A:float64(0) C:float64(0) D:0 P:map[A:float64(1.5) C:float64(2) D:0 e:0] e:0]"},
		{json.Number(""), CBOR, "0"},
		{json.Number(""), JSON, "0"},
		{struct{ *inner }{&inner{1}}, CBOR, "map[X:1]"},
	} {
		var got any
		b, err := tt.codec.Append(nil, &tt.v)
		if err == nil {
			err = tt.codec.Decode(b, &got)
		}
		if err != nil || shown(got) != tt.want {
			t.Errorf("%#v, %s: %v, %v, want %s", tt.v, tt.codec, got, err, tt.want)
		}
	}
}

type measured struct {
	A float64
	B float64 `json:",omitempty"`
	C float32
	D float64   `json:",string"`
	E int       `json:"e"`
	P *measured `json:",omitempty"`
}

// shown tells floats from whole numbers.
func shown(v any) string {
	var floats func(v any) any
	floats = func(v any) any {
		switch v := v.(type) {
		case float64:
			return fmt.Sprintf("float64(%v)", v)
		case []any:
			for i := range v {
				v[i] = floats(v[i])
			}
		case map[string]any:
			for k := range v {
				v[k] = floats(v[k])
			}
		}
		return v
	}
	return fmt.Sprint(floats(v))
}

// A key that is not even equal to itself does not multiply when the value is read.
func TestNaNAsKey(t *testing.T) {
	b, err := CBOR.Append(nil, map[any]any{math.NaN(): "x", 1: 2})
	if err != nil {
		t.Fatal(err)
	}
	var mixed any
	if err := CBOR.Decode(b, &mixed); err != nil {
		t.Fatal(err)
	}
	if m := mixed.(map[any]any); len(m) != 2 || m[int64(1)] != int64(2) || !strings.Contains(fmt.Sprint(m), "NaN:x") {
		t.Errorf("%v", m)
	}
	if b, err = CBOR.Append(nil, map[float64]any{math.NaN(): map[int]int{1: 1}}); err != nil {
		t.Fatal(err)
	}
	var typed map[float64]any
	if err := CBOR.Decode(b, &typed); err != nil || len(typed) != 1 {
		t.Errorf("%v, %v", typed, err)
	}
	for v := range maps.Values(typed) {
		if fmt.Sprint(v) != "map[1:1]" {
			t.Errorf("%v", v)
		}
	}
}
