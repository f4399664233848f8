package schema

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Every short float comes back from float32, and every float32 becomes the nearest one.
func TestShortFloats(t *testing.T) {
	half := func(b uint16) float32 { return Float16Of(b).Float32() }
	brain := func(b uint16) float32 { return BFloat16Of(b).Float32() }
	toHalf := func(f float32) uint16 { return ToFloat16(f).Bits() }
	toBrain := func(f float32) uint16 { return ToBFloat16(f).Bits() }
	for _, c := range []struct {
		name string
		from func(uint16) float32
		to   func(float32) uint16
	}{{"float16", half, toHalf}, {"bfloat16", brain, toBrain}} {
		for b := range 1 << 16 {
			f := c.from(uint16(b))
			if got := c.to(f); got != uint16(b) {
				t.Fatalf("%s: %#x is %v, which is %#x", c.name, b, f, got)
			}
			next := c.from(uint16(b) + 1)
			if f != f || next != next || math.IsInf(float64(next), 0) || b&0x7fff == 0x7fff {
				continue
			}
			mid := (float64(f) + float64(next)) / 2 // exact
			want := uint16(b)
			if b&1 == 1 {
				want++
			}
			if got := c.to(float32(mid)); float64(float32(mid)) == mid && got != want {
				t.Fatalf("%s: between %#x and the next: %#x", c.name, b, got)
			}
			if c.to(math.Nextafter32(float32(mid), f)) != uint16(b) || c.to(math.Nextafter32(float32(mid), next)) != uint16(b)+1 {
				t.Fatalf("%s: beside the middle of %#x and the next", c.name, b)
			}
		}
	}
	for f, want := range map[float32]uint16{1: 0x3c00, -2: 0xc000, 65504: 0x7bff, 65519: 0x7bff, 65520: 0x7c00, 1e10: 0x7c00, 5.9604645e-8: 1, 1e-10: 0} {
		if got := toHalf(f); got != want {
			t.Errorf("%v is %#x, want %#x", f, got, want)
		}
	}
}

type shortFloats struct {
	H Float16
	B BFloat16
	T Text[[8]byte]
	S Bytes[[5]byte]
}

// Scalars by name go through the codecs as what they are.
func TestNamedScalars(t *testing.T) {
	var v shortFloats
	v.H, v.B = ToFloat16(0.1), ToBFloat16(float32(math.Inf(-1)))
	if err := errors.Join(v.T.Set("häuser"), v.S.Set([]byte{0, 1})); err != nil {
		t.Fatal(err)
	}
	b, err := CBOR.Append(nil, &v)
	if err != nil {
		t.Fatal(err)
	}
	var got shortFloats
	if err := CBOR.Decode(b, &got); err != nil || got != v {
		t.Errorf("%+v came back as %+v, %v", v, got, err)
	}
	if err := CBOR.Decode(b, new(struct {
		H float64
		T string
		S []byte
	})); err != nil {
		t.Error(err)
	}
	if b, err = CBOR.Append(nil, map[string]float64{"H": 0.1}); err != nil {
		t.Fatal(err)
	}
	if err := CBOR.Decode(b, &got); !errors.Is(err, errs.ErrIncompatible) {
		t.Errorf("0.1 is a float16: %v", err)
	}
	var pair struct{ H, B any }
	pair.H, pair.B = ToFloat16(0.5), ToBFloat16(2)
	if b, err = JSON.Append(nil, pair); err != nil || string(b) != `{"H":0.5,"B":2}` {
		t.Errorf("%s, %v", b, err)
	}
	for _, bad := range []error{v.T.Set("neun bytes"), v.T.Set("\xff"), v.T.Set("a\x00"), v.S.Set(make([]byte, 1))} {
		if !errors.Is(bad, errs.ErrTooLarge) && !errors.Is(bad, errs.ErrIncompatible) {
			t.Errorf("%v", bad)
		}
	}
	if v.T.String() != "häuser" || string(v.S.Bytes()) != "\x00\x01" {
		t.Errorf("%q, %q", v.T, v.S.Bytes())
	}
	for range 1000 {
		f := math.Float32frombits(rand.Uint32())
		if h := ToFloat16(f); f == f && math.Abs(float64(f)) < 65504 && math.Abs(float64(h.Float32()-f)) > math.Max(math.Abs(float64(f))/2048, 1.0/(1<<25)) {
			t.Errorf("%v is far from %v", h, f)
		}
	}
}
