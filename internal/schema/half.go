package schema

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Float16 is an IEEE 754 half-precision number, as NumPy's float16: 5 bits of exponent, 10 of fraction. Go does
// not calculate with it; convert it to float32, which is exact.
type Float16 struct{ bits uint16 }

// BFloat16 is the upper half of a float32: 8 bits of exponent, 7 of fraction.
type BFloat16 struct{ bits uint16 }

// ToFloat16 returns the nearest Float16, of two the even one. What is too large becomes infinite.
func ToFloat16(f float32) Float16 { return Float16{toHalf(math.Float32bits(f))} }

// Float16Of is the number with these bits.
func Float16Of(bits uint16) Float16 { return Float16{bits} }

// Bits are the bits of the number.
func (f Float16) Bits() uint16 { return f.bits }

// Float32 is the number as a float32, exactly.
func (f Float16) Float32() float32 {
	sign, exp, frac := uint32(f.bits&0x8000)<<16, uint32(f.bits>>10&0x1f), uint32(f.bits&0x3ff)
	switch exp {
	case 0: // a multiple of 2⁻²⁴
		return math.Float32frombits(sign | math.Float32bits(float32(frac)*(1.0/(1<<24))))
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}

func toHalf(b uint32) uint16 {
	sign, abs := uint16(b>>16&0x8000), b&0x7fffffff
	switch {
	case abs > 0x7f800000: // NaN, with the upper bits of what it carries
		if frac := uint16(abs >> 13 & 0x3ff); frac != 0 {
			return sign | 0x7c00 | frac
		}
		return sign | 0x7e00
	case abs >= 0x477ff000: // half a step or more beyond the largest
		return sign | 0x7c00
	case abs < 0x38800000: // below 2⁻¹⁴: a multiple of 2⁻²⁴
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(abs))*(1<<24)))
	}
	return sign | uint16((abs+0xfff+abs>>13&1)>>13-(127-15)<<10)
}

// ToBFloat16 returns the nearest BFloat16, of two the even one. What is too large becomes infinite.
func ToBFloat16(f float32) BFloat16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		if b>>16&0x7f == 0 {
			b |= 1 << 22
		}
		return BFloat16{uint16(b >> 16)}
	}
	return BFloat16{uint16((b + 0x7fff + b>>16&1) >> 16)}
}

// BFloat16Of is the number with these bits.
func BFloat16Of(bits uint16) BFloat16 { return BFloat16{bits} }

// Bits are the bits of the number.
func (f BFloat16) Bits() uint16 { return f.bits }

// Float32 is the number as a float32, exactly.
func (f BFloat16) Float32() float32 { return math.Float32frombits(uint32(f.bits) << 16) }

// String is the number in the fewest digits that are a float32 of this value.
func (f Float16) String() string { return strconv.FormatFloat(float64(f.Float32()), 'g', -1, 32) }

// String is the number in the fewest digits that are a float32 of this value.
func (f BFloat16) String() string { return strconv.FormatFloat(float64(f.Float32()), 'g', -1, 32) }

// MarshalCBOR writes the number as a float.
func (f Float16) MarshalCBOR() ([]byte, error) {
	return binary.BigEndian.AppendUint16([]byte{0xf9}, f.bits), nil
}

// MarshalCBOR writes the number as a float.
func (f BFloat16) MarshalCBOR() ([]byte, error) { return cborEncode.Marshal(f.Float32()) }

// UnmarshalCBOR reads a number, which must be one of this type.
func (f *Float16) UnmarshalCBOR(b []byte) error {
	v, err := decodeHalf(b, func(v float32) float32 { return ToFloat16(v).Float32() })
	if err == nil {
		*f = ToFloat16(v)
	}
	return err
}

// UnmarshalCBOR reads a number, which must be one of this type.
func (f *BFloat16) UnmarshalCBOR(b []byte) error {
	v, err := decodeHalf(b, func(v float32) float32 { return ToBFloat16(v).Float32() })
	if err == nil {
		*f = ToBFloat16(v)
	}
	return err
}

func decodeHalf(b []byte, rounded func(float32) float32) (v float32, err error) {
	if err := cborDecode.Unmarshal(b, &v); err != nil {
		return 0, err
	}
	if r := rounded(v); r != v && v == v {
		return 0, fmt.Errorf("%v has more digits than the type", v)
	}
	return v, nil
}

// MarshalJSON writes the number.
func (f Float16) MarshalJSON() ([]byte, error) { return json.Marshal(f.Float32()) }

// MarshalJSON writes the number.
func (f BFloat16) MarshalJSON() ([]byte, error) { return json.Marshal(f.Float32()) }

// UnmarshalJSON reads a number, and takes the nearest one of this type.
func (f *Float16) UnmarshalJSON(b []byte) error {
	var v float32
	err := json.Unmarshal(b, &v)
	*f = ToFloat16(v)
	return err
}

// UnmarshalJSON reads a number, and takes the nearest one of this type.
func (f *BFloat16) UnmarshalJSON(b []byte) error {
	var v float32
	err := json.Unmarshal(b, &v)
	*f = ToBFloat16(v)
	return err
}
