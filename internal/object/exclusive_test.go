package object

import "testing"

// A family that was disbanded takes nobody in, and hands its members out once, without those that left.
func TestFamily(t *testing.T) {
	var f Family[int]
	for h := range 3 {
		if !f.Adopt(h) {
			t.Fatalf("handle %d is refused", h)
		}
	}
	f.Disown(1)
	made, first := f.Disband()
	if _, left := made[1]; len(made) != 2 || left || !first {
		t.Errorf("handed out %v, first: %v", made, first)
	}
	if f.Adopt(7) {
		t.Error("a handle is taken in by a family that was disbanded")
	}
	f.Disown(0)
	if made, first := f.Disband(); len(made) != 0 || first {
		t.Errorf("handed out again %v, first: %v", made, first)
	}
}
