package schema

import (
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Checker returns a function that tells whether bytes from a peer are an element of a fixed
// layout, or nil if any bytes of the right number are one. A bool must be 0 or 1: compiled Go
// relies on it, so another value could lead anywhere. Give the function the private copy, not
// the shared bytes, which may change after the look.
func (d Descriptor) Checker() func(src []byte) error {
	_, l, err := parse(d.Text)
	if err != nil || l == nil || !l.boolean {
		return nil
	}
	return func(src []byte) error {
		if len(src) != l.size {
			return fmt.Errorf("%w: element of %d bytes, want %d", errs.ErrCorrupt, len(src), l.size)
		}
		if i := l.badBool(src); i >= 0 {
			return fmt.Errorf("%w: bool with value %d at byte %d of an element", errs.ErrCorrupt, src[i], i)
		}
		return nil
	}
}

// badBool returns the place of the first bool in src that is neither 0 nor 1, or -1.
func (l *layout) badBool(src []byte) int {
	switch {
	case !l.boolean:
	case l.elem != nil:
		for at := 0; at < l.size; at += l.elem.size {
			if i := l.elem.badBool(src[at : at+l.elem.size]); i >= 0 {
				return at + i
			}
		}
	case l.fields != nil:
		for _, f := range l.fields {
			if i := f.badBool(src[f.offset : f.offset+f.size]); i >= 0 {
				return f.offset + i
			}
		}
	case src[0] > 1:
		return 0
	}
	return -1
}
