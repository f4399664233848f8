//go:build explore

package object

import "github.com/shiplap-ipc/shiplap/internal/mem"

// OnHeap is an open object without a file, over memory of this process alone, whose state word is at the usual place
// in the first span. When it is closed and nobody is inside, out is called. It is for package explore.
func OnHeap(h *Header, r *mem.Region, out func()) *Object {
	o := &Object{Header: h, Region: r, Ctl: r.Span(0), Word: r.Span(0).U32(offState)}
	o.Gate.out = out
	o.Sess.Check = o.Err
	return o
}

// MarkIn is what a removal does in the memory of an object: its first step.
func MarkIn(span *mem.Span, h *Header) error { return new(Space).markIn(span, h) }
