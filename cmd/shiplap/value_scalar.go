package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/shiplap-ipc/shiplap/internal/schema"
)

func floatOf(l *schema.Layout, b []byte) float64 {
	switch bits := bitsOf(b); {
	case l.Class() == schema.Brain:
		return float64(schema.BFloat16Of(uint16(bits)).Float32())
	case l.Size == 2:
		return float64(schema.Float16Of(uint16(bits)).Float32())
	case l.Size == 4:
		return float64(math.Float32frombits(uint32(bits)))
	default:
		return math.Float64frombits(bits)
	}
}

// putFloat writes the nearest number that the type has.
func putFloat(l *schema.Layout, b []byte, v float64) {
	switch {
	case l.Class() == schema.Brain:
		putBits(b, uint64(schema.ToBFloat16(float32(v)).Bits()))
	case l.Size == 2:
		putBits(b, uint64(schema.ToFloat16(float32(v)).Bits()))
	case l.Size == 4:
		putBits(b, uint64(math.Float32bits(float32(v))))
	default:
		putBits(b, math.Float64bits(v))
	}
}

// halfOf is the layout of the parts of a complex number.
func halfOf(l *schema.Layout) *schema.Layout {
	return &schema.Layout{Scalar: fmt.Sprintf("<f%d", l.Size/2), Size: l.Size / 2}
}

// appendChars appends a text, or a byte string as base64.
func appendChars(dst []byte, l *schema.Layout, b []byte, quoted bool) []byte {
	b = bytes.TrimRight(b, "\x00")
	text := strings.ToValidUTF8(string(b), "\ufffd")
	if l.Class() == schema.ByteText {
		text = base64.StdEncoding.EncodeToString(b)
	}
	if !quoted && plain(text) {
		return append(dst, text...)
	}
	dst, _ = schema.JSON.Append(dst, text) // a string
	return dst
}

// setChars reads what appendChars wrote.
func setChars(l *schema.Layout, b []byte, text string) error {
	if l.Class() == schema.ByteText {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return usagef("%.60q is no base64", text)
		}
		text = string(raw)
	} else if !utf8.ValidString(text) {
		return usagef("%.60q is no UTF-8", text)
	}
	if len(text) > len(b) || strings.HasSuffix(text, "\x00") {
		return usagef("%.60q as %s: it has %d bytes; possible are %d, not ending with a zero", text, l.Scalar, len(text), len(b))
	}
	copy(b, text)
	return nil
}

func appendFloat(dst []byte, l *schema.Layout, b []byte, quoted bool) []byte {
	v := floatOf(l, b)
	var word string
	switch {
	case math.IsNaN(v):
		word = "NaN"
	case math.IsInf(v, 1):
		word = "Infinity"
	case math.IsInf(v, -1):
		word = "-Infinity"
	default:
		format := byte('f')
		if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
			format = 'e'
		}
		return strconv.AppendFloat(dst, v, format, -1, min(64, 32*max(1, len(b)/4)))
	}
	if quoted {
		return strconv.AppendQuote(dst, word)
	}
	return append(dst, word...)
}
