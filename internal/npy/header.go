package npy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

// Header says what the elements of a file are.
type Header struct {
	Layout  *schema.Layout
	Shape   []int // may be empty: one element
	Fortran bool  // the first index runs fastest
}

const (
	magic     = "\x93NUMPY"
	alignment = 64
	maxHeader = 1 << 20
)

// Descriptor is the text that says the same of the elements in a domain.
func (h *Header) Descriptor() string { return string(schema.Fixed) + ":" + h.Layout.String() }

// Read reads a header. What follows in r is the first element.
func Read(r io.Reader) (*Header, error) {
	broken := func(format string, a ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{errs.ErrIncompatible}, a...)...)
	}
	start := make([]byte, len(magic)+2, 12)
	if _, err := io.ReadFull(r, start); err != nil {
		return nil, broken("no .npy file: it ends within the first %d bytes (%w)", len(start), err)
	}
	if string(start[:len(magic)]) != magic {
		return nil, broken("no .npy file: it begins with %q", start)
	}
	major, minor := start[len(magic)], start[len(magic)+1]
	if major < 1 || major > 3 || minor != 0 {
		return nil, refuse("an .npy file of version %d.%d; 1.0, 2.0 and 3.0 are known", major, minor)
	}
	size := make([]byte, 2, 4)
	if major > 1 {
		size = size[:4]
	}
	if _, err := io.ReadFull(r, size); err != nil {
		return nil, broken("npy header: %w", err)
	}
	n := binary.LittleEndian.Uint32(append(size[:len(size):len(size)], 0, 0))
	if n > maxHeader {
		return nil, broken("npy header of %d bytes, at most %d are possible", n, maxHeader)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, broken("npy header of %d bytes: %w", n, err)
	}
	if major < 3 {
		text = []byte(latin1(text))
	}
	if !utf8.Valid(text) {
		return nil, broken("npy header: it is not UTF-8")
	}
	return parse(string(text))
}

func latin1(b []byte) string {
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}

func parse(text string) (*Header, error) {
	v, err := parseLiteral(text)
	if err != nil {
		return nil, err
	}
	d, ok := v.(dict)
	if !ok {
		return nil, refuse("npy header: it is no dict")
	}
	h := &Header{}
	seen := map[string]bool{}
	for _, e := range d {
		key, _ := e.key.(string)
		if seen[key] {
			return nil, refuse("npy header: %q stands there twice", key)
		}
		seen[key] = true
		switch key {
		case "descr":
			h.Layout, err = layoutOf(e.value)
		case "fortran_order":
			if h.Fortran, ok = e.value.(bool); !ok {
				err = refuse("npy header: fortran_order %v", e.value)
			}
		case "shape":
			h.Shape, err = dimsOf(e.value)
		default:
			err = refuse("npy header: unknown key %v", e.key)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(seen) != 3 {
		return nil, refuse("npy header: descr, fortran_order and shape are wanted, there are %d keys", len(seen))
	}
	if _, err := schema.Parse(h.Descriptor()); err != nil { // too long, too deep, a name twice
		return nil, refuse("npy header: a dtype that cannot be described here: %s",
			strings.TrimPrefix(err.Error(), errs.ErrCorrupt.Error()+": "))
	}
	return h, nil
}

// Write writes a header, of the lowest version that can carry it, padded so that the elements begin at
// a multiple of 64 bytes. Elements that are arrays add their dimensions to the shape, as NumPy has it.
func Write(w io.Writer, h *Header) error {
	elem, dims := flatten(h.Layout)
	order := "False"
	if h.Fortran {
		order = "True"
	}
	shape := shapeText(append(append([]int{}, h.Shape...), dims...))
	text := fmt.Appendf(nil, "{'descr': %s, 'fortran_order': %s, 'shape': %s, }", descr(elem), order, shape)
	version, head := byte(1), len(magic)+2+2
	for _, c := range text {
		if c >= utf8.RuneSelf {
			version, head = 3, len(magic)+2+4
			break
		}
	}
	if version == 1 && len(text)+head+alignment > 1<<16 {
		version, head = 2, len(magic)+2+4
	}
	pad := -(head + len(text) + 1) & (alignment - 1)
	n := len(text) + pad + 1
	b := append([]byte(magic), version, 0)
	if version == 1 {
		b = binary.LittleEndian.AppendUint16(b, uint16(n))
	} else {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	b = append(append(append(b, text...), bytes.Repeat([]byte{' '}, pad)...), '\n')
	_, err := w.Write(b)
	return err
}
