//go:build linux && (amd64 || arm64)

package killtest

import "testing"

// TestQuickRecording: a recording after a run at full speed sees the effects that one after slow passes sees, also
// those in pages that nobody expects to change.
func TestQuickRecording(t *testing.T) {
	for _, s := range []Scenario{torn, tornFar, files, intent} {
		slow := explore(t, s, Options{Kill: true, Stride: 1 << 30})
		fast := explore(t, s, Options{Kill: true, Stride: 1 << 30, quick: true})
		if fast.Effects != slow.Effects || fast.Instructions != slow.Instructions || fast.Violations == 0 && s.Name != intent.Name {
			t.Errorf("%s: a quick recording is of %d instructions with %d effects, a slow one of %d with %d; %d violations",
				s.Name, fast.Instructions, fast.Effects, slow.Instructions, slow.Effects, fast.Violations)
		}
	}
}
