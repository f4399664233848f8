package npy

import (
	"slices"

	"github.com/shiplap-ipc/shiplap/internal/schema"
)

// Flat is the shape with the dimensions of elements that are arrays behind it, as NumPy has it.
func (h *Header) Flat() []int {
	_, dims := flatten(h.Layout)
	return append(slices.Clone(h.Shape), dims...)
}

// Alike reports whether two headers are of the same bytes: scalars of the same types at the same offsets. A file does not say
// which dimensions belong to the elements, how records are aligned, nor whether byte strings are text.
func (h *Header) Alike(other *Header) bool {
	a, _ := flatten(h.Layout)
	b, _ := flatten(other.Layout)
	return slices.Equal(h.Flat(), other.Flat()) && alike(a, b)
}

func alike(a, b *schema.Layout) bool {
	a, inA := flatten(a)
	b, inB := flatten(b)
	if dtypeName(a) != dtypeName(b) || a.Size != b.Size || !slices.Equal(inA, inB) {
		return false
	}
	return slices.EqualFunc(a.Fields, b.Fields, func(f, g schema.Field) bool {
		return f.Name == g.Name && f.Offset == g.Offset && alike(f.Layout, g.Layout)
	})
}
