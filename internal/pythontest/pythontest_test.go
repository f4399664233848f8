package pythontest

import "testing"

func TestFind(t *testing.T) {
	for _, p := range All(t) {
		t.Logf("%s: %s, NumPy %q", p, p.Path, p.NumPy)
		if !p.AtLeast(8) || p.AtLeast(99) {
			t.Errorf("version %q", p.Version)
		}
	}
	t.Logf("with NumPy: %s", WithNumPy(t).Path)
}
