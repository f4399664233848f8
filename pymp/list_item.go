package pymp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// The formats of items, in the language of Python's struct.
const (
	formatInt   = "q"
	formatFloat = "d"
	formatBool  = "xxxxxxx?"
	formatNone  = "xxxxxx?x"
)

// How an item is read back.
const (
	codeNumber = 0
	codeString = 1
	codeBytes  = 2
	codeNone   = 3
)

// MaxListItem is how many bytes the longest str or bytes of a ShareableList has: its format must fit
// 8 characters.
const MaxListItem = 9999991

// item is a value as it lies in its slot.
type item struct {
	format string // of numbers, bool and None; that of others depends on the slot
	code   byte
	data   []byte
}

// slot is how many bytes Python would reserve, if it counted bytes.
func (it item) slot() int {
	if it.format != "" {
		return 8
	}
	return 8 * (len(it.data)/8 + 1)
}

func formatOf(slot int) string { return strconv.Itoa(slot) + "s" }

// newItem is how a Go value is stored.
func newItem(v any) (item, error) {
	word := func(format string, bits uint64) (item, error) {
		return item{format, codeNumber, binary.LittleEndian.AppendUint64(nil, bits)}, nil
	}
	switch v := v.(type) {
	case nil:
		return item{formatNone, codeNone, make([]byte, 8)}, nil
	case []byte:
		return text(codeBytes, v)
	case *big.Int:
		if v != nil && v.IsInt64() {
			return word(formatInt, uint64(v.Int64()))
		}
		return item{}, fmt.Errorf("%w: an integer of more than 64 bits; a ShareableList holds int64", errs.ErrTooLarge)
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Bool:
		if r.Bool() {
			return word(formatBool, 1<<56)
		}
		return word(formatBool, 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return word(formatInt, uint64(r.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if r.Uint() > math.MaxInt64 {
			return item{}, fmt.Errorf("%w: %d; a ShareableList holds int64, up to %d", errs.ErrTooLarge, r.Uint(), math.MaxInt64)
		}
		return word(formatInt, r.Uint())
	case reflect.Float32, reflect.Float64:
		return word(formatFloat, math.Float64bits(r.Float()))
	case reflect.String:
		if !utf8.ValidString(r.String()) {
			return item{}, fmt.Errorf("%w: a string that is not UTF-8 cannot be a str (store it as []byte)", errs.ErrIncompatible)
		}
		return text(codeString, []byte(r.String()))
	}
	return item{}, fmt.Errorf("%w: a %T; a ShareableList holds integers, floats, bool, nil, string and []byte", errs.ErrIncompatible, v)
}

func text(code byte, p []byte) (item, error) {
	if len(p) > MaxListItem {
		return item{}, fmt.Errorf("%w: an item of %d bytes (maximum %d)", errs.ErrTooLarge, len(p), MaxListItem)
	}
	return item{"", code, p}, nil
}

// readItem is the value of a slot. All three arguments are private copies: they may be torn, but do
// not change.
func readItem(format [8]byte, code byte, slot []byte) (any, error) {
	f := strings.TrimRight(string(format[:]), "\x00")
	switch {
	case code == codeNone && f == formatNone:
		return nil, nil
	case code == codeNumber && f == formatInt:
		return int64(binary.LittleEndian.Uint64(slot)), nil
	case code == codeNumber && f == formatFloat:
		return math.Float64frombits(binary.LittleEndian.Uint64(slot)), nil
	case code == codeNumber && f == formatBool:
		return slot[7] != 0, nil
	case code == codeString || code == codeBytes:
		n, ok := textLength(f)
		if !ok || n > len(slot) {
			break
		}
		p := bytes.TrimRight(slot[:n], "\x00")
		if code == codeBytes {
			return bytes.Clone(p), nil
		}
		return readString(p, n)
	}
	return nil, fmt.Errorf("%w: format %q with code %d in a slot of %d bytes (if somebody writes the item at this moment, read it again: the list has no lock)",
		errs.ErrCorrupt, f, int8(code), len(slot))
}

func textLength(f string) (int, bool) {
	digits, ok := strings.CutSuffix(f, "s")
	if !ok || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil
}

func readString(p []byte, slot int) (any, error) {
	if utf8.Valid(p) {
		return string(p), nil
	}
	whole := len(p)
	for whole > 0 && len(p)-whole < utf8.UTFMax && !utf8.Valid(p[:whole]) {
		whole--
	}
	if len(p) == slot && utf8.Valid(p[:whole]) {
		return nil, fmt.Errorf("%w: a str was cut inside a character, after %d bytes of text: Python reserves a byte for each character, and %d were not enough (Raw gives the bytes)",
			errs.ErrCorrupt, whole, slot)
	}
	return nil, fmt.Errorf("%w: a str of %d bytes is not UTF-8 (Raw gives the bytes)", errs.ErrCorrupt, len(p))
}

// equal reports whether two values of a list are equal in Python.
func equal(a, b any) bool {
	if x, ok := a.([]byte); ok {
		y, ok := b.([]byte)
		return ok && bytes.Equal(x, y)
	}
	if _, ok := b.([]byte); ok {
		return false
	}
	return number(a) == number(b)
}
