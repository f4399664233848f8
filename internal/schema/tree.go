package schema

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Layout is what a fixed descriptor says, as a tree: a scalar, Count elements of Elem, or a struct of
// Fields.
type Layout struct {
	Scalar string // "<f8"; empty for the others
	Count  int    // of an array
	Elem   *Layout
	Fields []Field // of a struct, in the order of their offsets
	Size   int
	Align  int
}

// Field is one field of a struct.
type Field struct {
	Name   string
	Offset int
	Layout *Layout
}

// Layout is the tree of a fixed descriptor; ErrIncompatible for others.
func (d Descriptor) Layout() (*Layout, error) {
	if !d.Fixed {
		return nil, fmt.Errorf("%w: elements are %v, which has no fixed layout", errs.ErrIncompatible, d)
	}
	checked, err := Parse(d.Text)
	if err != nil {
		return nil, err
	}
	t := treeReader{strings.TrimPrefix(checked.Text, string(Fixed)+":")}
	return t.layout(), nil
}

// treeReader reads text that Parse has accepted.
type treeReader struct{ s string }

func (t *treeReader) layout() *Layout {
	switch t.s[0] {
	case '[':
		t.s = t.s[1:]
		n := t.number()
		t.s = t.s[1:]
		e := t.layout()
		return &Layout{Count: n, Elem: e, Size: n * e.Size, Align: e.Align}
	case '{':
		return t.structure()
	}
	l, n, _ := scalarIn(t.s) // Parse has seen it
	name := t.s[:n]
	t.s = t.s[n:]
	return &Layout{Scalar: name, Size: l.size, Align: l.align}
}

func (t *treeReader) structure() *Layout {
	l := &Layout{Fields: []Field{}}
	for t.s = t.s[1:]; t.s[0] != ';'; {
		t.s = strings.TrimPrefix(t.s, ",")
		name, rest, _ := strings.Cut(t.s, ":")
		t.s = rest
		f := Field{Name: name, Layout: t.layout()}
		t.s = t.s[1:] // @
		f.Offset = t.number()
		l.Fields = append(l.Fields, f)
	}
	t.s = strings.TrimPrefix(t.s, ";size=")
	l.Size = t.number()
	t.s = strings.TrimPrefix(t.s, ",align=")
	l.Align = t.number()
	t.s = t.s[1:]
	return l
}

func (t *treeReader) number() int {
	n := strings.IndexFunc(t.s, func(r rune) bool { return r < '0' || r > '9' })
	if n < 0 {
		n = len(t.s)
	}
	v, _ := strconv.Atoi(t.s[:n]) // Parse has seen it
	t.s = t.s[n:]
	return v
}

// String is the text of the layout, as a descriptor has it behind "fixed:".
func (l *Layout) String() string {
	switch {
	case l.Scalar != "":
		return l.Scalar
	case l.Elem != nil:
		return "[" + strconv.Itoa(l.Count) + "]" + l.Elem.String()
	}
	var b strings.Builder
	for i, f := range l.Fields {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s:%s@%d", f.Name, f.Layout, f.Offset)
	}
	return fmt.Sprintf("{%s;size=%d,align=%d}", &b, l.Size, l.Align)
}

// Padded reports whether an element has bytes that no field covers.
func (l *Layout) Padded() bool {
	if l.Elem != nil {
		return l.Elem.Padded()
	}
	end := 0
	for _, f := range l.Fields {
		if f.Offset > end || f.Layout.Padded() {
			return true
		}
		end = f.Offset + f.Layout.Size
	}
	return l.Fields != nil && end < l.Size
}

// ClearPadding zeroes the bytes of an element that no field covers, so that equal elements have equal
// bytes. b has Size bytes.
func (l *Layout) ClearPadding(b []byte) {
	switch {
	case l.Elem != nil:
		if l.Elem.Padded() {
			for i := range l.Count {
				l.Elem.ClearPadding(b[i*l.Elem.Size : (i+1)*l.Elem.Size])
			}
		}
	case l.Fields != nil:
		end := 0
		for _, f := range l.Fields {
			clear(b[end:f.Offset])
			end = f.Offset + f.Layout.Size
			f.Layout.ClearPadding(b[f.Offset:end])
		}
		clear(b[end:l.Size])
	}
}
