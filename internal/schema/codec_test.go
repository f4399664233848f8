package schema

import (
	"errors"
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

type message struct {
	Name    string
	Data    map[string]any
	When    time.Time
	Addr    netip.Addr
	Ratio   big.Float // encodes itself, by methods of its pointer
	Body    []byte
	Next    *message
	private int // stays here
}

func TestCodecRoundTrip(t *testing.T) {
	ratio, _, err := big.ParseFloat("0.75", 10, 53, big.ToNearestEven)
	if err != nil {
		t.Fatal(err)
	}
	m := message{
		Name:  "a <b> 收",
		Data:  map[string]any{"inner": map[string]any{"list": []any{"x", nil, true}}},
		When:  time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC),
		Addr:  netip.MustParseAddr("::1"),
		Ratio: *ratio,
		Body:  []byte{0, 255},
		Next:  &message{},
	}
	equal := cmp.Options{
		cmp.AllowUnexported(message{}),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b big.Float) bool { return a.Cmp(&b) == 0 }),
	}
	for _, c := range []Codec{CBOR, JSON} {
		sent := m
		sent.private = 1
		for _, v := range []any{sent, &sent} {
			b, err := c.Append([]byte("head"), v)
			if err != nil || !strings.HasPrefix(string(b), "head") {
				t.Fatalf("%s: %q, %v", c, b, err)
			}
			var got message
			if err := c.Decode(b[4:], &got); err != nil {
				t.Fatalf("%s: %v", c, err)
			}
			if diff := cmp.Diff(m, got, equal); diff != "" {
				t.Errorf("%s (-put +got)\n%s", c, diff)
			}
		}
	}
}

func TestCodecAny(t *testing.T) {
	in := map[string]any{"n": int64(-1), "p": int64(1), "list": []any{map[string]any{}}, "text": "\xff"}
	b, err := CBOR.Append(nil, in)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := CBOR.Decode(b, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(any(in), out); diff != "" {
		t.Error(diff)
	}
	for _, c := range []Codec{CBOR, JSON} {
		if b, err = c.Append(nil, nil); err != nil || c.Decode(b, &out) != nil || out != nil {
			t.Errorf("%s nil: %x, %v, %v", c, b, err, out)
		}
	}
}

// What does not decode must not be encoded: no reader could get past it.
func TestCodecLimits(t *testing.T) {
	var deep any
	for range maxLevels + 1 {
		deep = []any{deep}
	}
	for name, v := range map[string]any{
		"deep": deep,
		"long": make([]bool, maxElements+1),
		"func": func() {},
	} {
		dst := []byte("head")
		if b, err := CBOR.Append(dst, v); err == nil || string(b) != "head" {
			t.Errorf("%s: %d bytes, %v, want an error and nothing appended", name, len(b), err)
		}
	}
	if b, err := CBOR.Append(nil, make([]bool, maxElements)); err != nil {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// Well-formed bytes of another type are no damage.
func TestDecodeErrors(t *testing.T) {
	huge := []byte{0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	for _, tt := range []struct {
		codec Codec
		src   string
		want  error
	}{
		{CBOR, "", errs.ErrCorrupt},
		{JSON, "", errs.ErrCorrupt},
		{CBOR, "\x01\x01", errs.ErrCorrupt},
		{JSON, "1 1", errs.ErrCorrupt},
		{CBOR, "\x61a", errs.ErrIncompatible},
		{JSON, `"a"`, errs.ErrIncompatible},
		{CBOR, string(huge), errs.ErrCorrupt},
		{CBOR, "\x1b\xff\xff\xff\xff\xff\xff\xff\xff", errs.ErrIncompatible},
		{JSON, "1e99", errs.ErrIncompatible},
		{CBOR, strings.Repeat("\x81", 1<<16), errs.ErrCorrupt},
		{JSON, strings.Repeat("[", 1<<16), errs.ErrCorrupt},
		{CBOR, "\x81\x01", errs.ErrIncompatible},
		{JSON, "1.5", errs.ErrIncompatible},
	} {
		var n int
		if err := tt.codec.Decode([]byte(tt.src), &n); !errors.Is(err, tt.want) {
			t.Errorf("%s %.20q: %d, %v, want %v", tt.codec, tt.src, n, err, tt.want)
		}
	}
	var m map[string]int
	if err := CBOR.Decode([]byte("\xa2\x61a\x01\x61a\x02"), &m); !errors.Is(err, errs.ErrCorrupt) {
		t.Errorf("key twice: %v, %v", m, err)
	}
	for _, v := range []any{nil, 1, (*int)(nil)} {
		if err := CBOR.Decode([]byte{1}, v); err == nil || errors.Is(err, errs.ErrCorrupt) {
			t.Errorf("decode into %T: %v", v, err)
		}
	}
	for _, c := range []Codec{Auto, Raw, Fixed, "xml"} {
		if _, err := c.Append(nil, 1); err == nil {
			t.Errorf("codec %q encodes", c)
		}
		if err := c.Decode([]byte{1}, new(int)); err == nil {
			t.Errorf("codec %q decodes", c)
		}
	}
}

// The shape lists exactly the names that the codec writes.
func TestShapeMatchesCodec(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		v    any
		want []string
	}{
		{tagged{When: &now}, []string{"a b", "When", "name", "1"}},
		{derived{point: &point{}}, []string{"Kind", "X", "Y"}},
	} {
		b, err := CBOR.Append(nil, &tt.v) // as any: a derived with a point could not be read as one
		if err != nil {
			t.Fatal(err)
		}
		var got map[any]cbor.RawMessage
		if err := CBOR.Decode(b, &got); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(tt.want) {
			t.Errorf("%T: %d names in the message, %d in the shape", tt.v, len(got), len(tt.want))
		}
		for _, k := range tt.want {
			_, asText := got[k]
			if _, asInt := got[int64(1)]; !asText && (k != "1" || !asInt) {
				t.Errorf("%T: no %s in %v", tt.v, k, got)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range []any{message{Next: &message{Body: []byte("x")}}, tuple{B: "b"}, []any{1, "a", 1.5}, big.NewInt(1)} {
		for _, c := range []Codec{CBOR, JSON} {
			b, err := c.Append(nil, v)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, c == CBOR)
		}
	}
	f.Add([]byte("\xa1\xa0\xa0"), true)
	f.Add([]byte("\xc1\xfb\x7e\x37\xe4\x3c\x88\x00\x75\x9c"), true)
	targets := []reflect.Type{
		reflect.TypeFor[message](), reflect.TypeFor[tuple](), reflect.TypeFor[any](), reflect.TypeFor[map[any]any](),
		reflect.TypeFor[time.Time](), reflect.TypeFor[big.Int](), reflect.TypeFor[node](), reflect.TypeFor[tagged](),
	}
	f.Fuzz(func(t *testing.T, src []byte, binary bool) {
		c := JSON
		if binary {
			c = CBOR
		}
		for _, typ := range targets {
			v := reflect.New(typ).Interface()
			if err := c.Decode(src, v); err != nil {
				if !errors.Is(err, errs.ErrCorrupt) && !errors.Is(err, errs.ErrIncompatible) {
					t.Fatalf("%v: %v is neither ErrCorrupt nor ErrIncompatible", typ, err)
				}
				continue
			}
			// What decodes need not encode, but if it does it must come back the same.
			b, err := c.Append(nil, v)
			if err != nil {
				continue
			}
			w := reflect.New(typ).Interface()
			if err := c.Decode(b, w); err != nil {
				t.Fatalf("%v: own encoding %x of %x: %v", typ, b, src, err)
			}
			again, err := c.Append(nil, w)
			if err != nil || string(again) != string(b) {
				t.Fatalf("%v: %x, encoded again %x, %v", typ, b, again, err)
			}
		}
	})
}

func BenchmarkCodec(b *testing.B) {
	for _, c := range []Codec{CBOR, JSON} {
		m := tagged{Name: "name", Age: 7}
		b.Run(string(c), func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				var err error
				if buf, err = c.Append(buf[:0], &m); err != nil {
					b.Fatal(err)
				}
				var got tagged
				if err := c.Decode(buf, &got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
