package channel

import (
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
)

// A process that closes its side and leaves the domain, between the look at its entry and the look whether it lives, has
// not died with the side open.
func TestLeftWhileLookedAt(t *testing.T) {
	for name, kill := range map[string]bool{"it leaves": false, "it dies": true} {
		t.Run(name, func(t *testing.T) {
			d, err := shiplap.Join("", &shiplap.Options{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			c, err := Set[int](d, "c", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			p := peertest.Start(t, d, "hold", "c")
			p.Says("has it")
			r := c.raw
			seen, opens := r.table.All(), r.opens(sideB).Load()
			want := errPeerClosed
			if kill {
				p.Kill()
				want = errPeerDied
			} else {
				p.CloseStdin()
				p.Ends()
			}
			r.peerMu.Lock()
			defer r.peerMu.Unlock()
			if _, err := r.peerAmong(opens, seen); err != want {
				t.Errorf("%v, want %v", err, want)
			}
		})
	}
}
