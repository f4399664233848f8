//go:build explore

package object

import "github.com/shiplap-ipc/shiplap/internal/mem"

// OnHeap is an open object without a file, over memory of this process alone, whose state word is at the usual place
// in ctl. Nobody being inside any more calls out. It is for package explore.
func OnHeap(h *Header, ctl *mem.Span, out func()) *Object {
	o := &Object{Header: h, Ctl: ctl, Word: ctl.U32(offState)}
	o.Gate.out = out
	o.Sess.Check = o.Err
	return o
}

// MarkIn is what a removal does in the memory of an object: its first step.
func MarkIn(span *mem.Span, h *Header) error { return markIn(span, h) }
