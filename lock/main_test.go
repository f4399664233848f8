package lock

import (
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

// TestMain is victim, peer or test run; the latter must leave nothing behind.
func TestMain(m *testing.M) {
	killtest.RunVictim(scenarios()...)
	runPeer()
	leaktest.Main(m)
}
