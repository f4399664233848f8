package shared

import (
	"fmt"
	"slices"
	"strings"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

// MaxDims is the most dimensions that an array can have, MaxFrames the most frames.
const (
	MaxDims   = 7
	MaxFrames = 1 << 16
)

// Param 0 is dimensions | frames << framesShift | locked << lockedShift; the dimensions follow, the last one runs
// fastest.
const (
	framesShift = 16
	framesMask  = 1<<32 - 1
	lockedShift = 48

	ctlSize   = object.HeaderSize + page
	maxMemory = 1<<40 - ctlSize // behind it lie the locks of users
)

// geometry is what the header of an array says, checked.
type geometry struct {
	dims   []int
	frames int
	locked bool
	count  int // elements of a frame
	size   int // bytes of a frame
	stride int // bytes from one frame to the next
}

// newGeometry checks all sizes. bad is what the error wraps.
func newGeometry(elem int, dims []int, frames int, locked bool, bad error) (g geometry, err error) {
	fail := func(format string, a ...any) (geometry, error) {
		return geometry{}, fmt.Errorf("%w: "+format, append([]any{bad}, a...)...)
	}
	if len(dims) < 1 || len(dims) > MaxDims {
		return fail("an array of %d dimensions, possible are 1 to %d", len(dims), MaxDims)
	}
	if frames < 1 || frames > MaxFrames {
		return fail("an array of %d frames, possible are 1 to %d", frames, MaxFrames)
	}
	g = geometry{dims: slices.Clone(dims), frames: frames, locked: locked, count: 1}
	for _, n := range dims {
		if n < 1 || n > maxMemory/g.count {
			return fail("an array of shape %s: dimensions are at least 1, and it has at most %d bytes", shapeText(dims), maxMemory)
		}
		g.count *= n
	}
	if g.count > maxMemory/elem {
		return fail("an array of shape %s with %d bytes an element: it has at most %d bytes", shapeText(dims), elem, maxMemory)
	}
	g.size = g.count * elem
	g.stride = (g.size + page - 1) / page * page
	if g.stride > maxMemory/frames {
		return fail("%d frames of %d bytes: an array has at most %d bytes", frames, g.stride, maxMemory)
	}
	return g, nil
}

func (g *geometry) params() (p [object.Params]uint64) {
	p[0] = uint64(len(g.dims)) | uint64(g.frames)<<framesShift
	if g.locked {
		p[0] |= 1 << lockedShift
	}
	for i, n := range g.dims {
		p[1+i] = uint64(n)
	}
	return p
}

func (g *geometry) parts() []mem.Part { return []mem.Part{{Len: ctlSize}, {Len: g.stride * g.frames}} }

// parseGeometry reads the params of a header that nobody has checked.
func parseGeometry(l *schema.Layout, p [object.Params]uint64) (geometry, error) {
	n, frames, rest := p[0]&(1<<framesShift-1), p[0]>>framesShift&framesMask, p[0]>>lockedShift
	if rest > 1 {
		return geometry{}, fmt.Errorf("%w: an array with the unknown flags %#x", errs.ErrIncompatible, rest&^1)
	}
	if n < 1 || n > MaxDims {
		return geometry{}, fmt.Errorf("%w: an array of %d dimensions, possible are 1 to %d", errs.ErrCorrupt, n, MaxDims)
	}
	dims := make([]int, n)
	for i := range dims {
		if p[1+i] > maxMemory {
			return geometry{}, fmt.Errorf("%w: an array whose dimension %d is %d", errs.ErrCorrupt, i, p[1+i])
		}
		dims[i] = int(p[1+i])
	}
	return newGeometry(l.Size, dims, int(frames), rest == 1, errs.ErrCorrupt)
}

func shapeText(dims []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(dims), " ", "×"), "[]")
}

// index is the place of an element, -1 when there is none.
func (g *geometry) index(i []int) int {
	if len(i) != len(g.dims) {
		return -1
	}
	at := 0
	for d, n := range g.dims {
		if uint(i[d]) >= uint(n) {
			return -1
		}
		at = at*n + i[d]
	}
	return at
}
