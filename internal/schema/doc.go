// Package schema says what one element of an object is: as a short text that programs in any
// language can compare, and as the codec that turns a value into bytes and back.
//
// Two programs agree on a type when their descriptors are equal byte for byte. There is one
// spelling for each type: no blanks, no leading zeros, everything in the order given here.
// A descriptor is UTF-8, at most 2048 bytes, nested at most 32 deep. Its hash is the first
// eight bytes of the text's SHA-256, read as a little-endian number.
//
//	descriptor = "bytes"                            messages of any length, taken as they are
//	           | "fixed:" layout                    elements of one size, copied as they lie in memory
//	           | ( "cbor:" | "json:" ) ( shape | digest )
//
// # Layouts
//
// A layout gives every byte of an element a place. It maps one to one to a NumPy dtype: a scalar
// is that dtype's str (bfloat16 is ml_dtypes', and utf8[5] is |S5), an array is (elem, (count,)), a struct is
// {'names', 'formats', 'offsets', 'itemsize'}.
//
//	layout = scalar
//	       | "[" count "]" layout                   count ≥ 1; row-major, elements without gaps
//	       | "{" [ field { "," field } ] ";size=" number ",align=" number "}"
//	field  = name ":" layout "@" number             offset from the start of the struct
//	scalar = "|b1"                                  one byte, 0 or 1
//	       | "|i1" | "<i2" | "<i4" | "<i8"          signed, two's complement
//	       | "|u1" | "<u2" | "<u4" | "<u8"          unsigned
//	       | "<f2" | "<f4" | "<f8"                  IEEE 754
//	       | "bfloat16"                             the upper two bytes of a "<f4"
//	       | "<c8" | "<c16"                         real part, imaginary part
//	       | "|S" count                             byte string of at most so many bytes, zeros behind it
//	       | "utf8[" count "]"                      text in UTF-8, as "|S" otherwise
//
// Everything is little-endian. Fields stand in the order of their offsets and do not overlap;
// bytes that no field covers are padding of any value. An element has 1 byte to 1 GiB. A struct's
// align is a power of two up to 64, its size a multiple of that. Names of one struct differ.
//
//	type Point struct{ X, Y float64; ID uint32 }
//	fixed:{X:<f8@0,Y:<f8@8,ID:<u4@16;size=24,align=8}
//
// Of a Go type, names and offsets are the compiler's. Named types are spelled as what they are
// made of, int, uint and uintptr as 8 bytes. Unexported fields count like others, for they are
// copied; blank fields are padding; fields of no size are left out.
//
// # Shapes
//
// A shape says what a codec writes: names as they appear in the message, kinds as the program
// knows them.
//
//	shape  = "bool" | "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "f16" | "bf16" | "f32" | "f64"
//	       | "str"                                  text
//	       | "bytes" | "bytes" number               CBOR byte string, of so many bytes, JSON base64 text;
//	                                                "bytes" may be null, which is empty
//	       | "time"                                 RFC 3339 text (years 0 to 9999), in CBOR with tag 0;
//	                                                in CBOR, the zero time is null
//	       | "big"                                  integer of any size
//	       | "number"                               JSON number kept as text
//	       | "any"                                  whatever the codec can carry
//	       | "?" shape                              the shape or null
//	       | "[]" shape | "[" count "]" shape       list of any or one length; one of any length may
//	                                                be null, which is empty
//	       | "map[" shape "]" shape                 null is empty
//	       | "{" [ key ":" shape { "," … } ] "}"    map with these keys, sorted by their bytes here;
//	                                                absent is zero
//	       | "(" [ key ":" shape { "," … } ] ")"    the same as a list, in this order
//	       | "~" shape                              a scalar inside a JSON string
//	       | "@" quoted                             the type of that name encodes itself
//	       | "^" number                             the shape that opened that many levels up, 1 the nearest;
//	                                                "?", lists, maps and structs each open a level
//	key    = name | [ "-" ] number | quoted         a number is an integer key (CBOR); quoted if not a name
//	digest = "#" 64 × hex                           SHA-256 of a shape that is too long to stand here
//
//	name   = letter { letter | digit }              letter: Unicode class L or "_"; digit: class Nd; not "_" alone
//	number = "0" | decimal without leading zeros, below 2³¹
//	quoted = '"' printable characters, \" and \\ '"'
//
// CBOR is written in the core deterministic encoding of RFC 8949 and read with limits: 512 levels,
// 2²⁰ elements in a list, 2²⁰ pairs in a map, no key twice; names of fields are compared byte by byte.
// Text that is not UTF-8 goes through CBOR unchanged; other languages may refuse it.
//
// # What goes in comes out
//
// A value is refused when it is encoded if no reader could decode it (see guard): a year beyond 9999, a map that
// contains itself, two keys that are written alike. Inside any, what a reader gets is the same with both codecs,
// and the same whoever wrote it: int64, or big.Int beyond; float64; string; []any; map[string]any. CBOR has also
// []byte, time.Time, and map[any]any for maps with a key that is no text. The latter come back instead of
// being refused because other languages have such maps, and structs with numbered fields are some.
package schema
