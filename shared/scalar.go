package shared

import "github.com/shiplap-ipc/shiplap/internal/schema"

// Float16 is NumPy's float16, and BFloat16 the bfloat16 of ml_dtypes. Go does not calculate with them: Float32 is exact.
type (
	Float16  = schema.Float16
	BFloat16 = schema.BFloat16
)

// Text is UTF-8 of at most as many bytes as A has, and Bytes a byte string: Text[[16]byte] for example. Where they are shorter zero bytes
// stand behind them, so they cannot end with any. NumPy sees both as byte strings (S16). An array of bytes without them, [16]byte, is
// 16 numbers there.
type (
	Text[A any]  = schema.Text[A]
	Bytes[A any] = schema.Bytes[A]
)

// ToFloat16 is the nearest Float16, of two the even one. What is too large becomes infinite.
func ToFloat16(f float32) Float16 { return schema.ToFloat16(f) }

// Float16Of is the number with these bits.
func Float16Of(bits uint16) Float16 { return schema.Float16Of(bits) }

// ToBFloat16 is the nearest BFloat16, of two the even one. What is too large becomes infinite.
func ToBFloat16(f float32) BFloat16 { return schema.ToBFloat16(f) }

// BFloat16Of is the number with these bits.
func BFloat16Of(bits uint16) BFloat16 { return schema.BFloat16Of(bits) }
