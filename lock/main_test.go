package lock

import (
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
)

// TestMain is victim, peer or test run; the latter must leave nothing behind.
func TestMain(m *testing.M) {
	killtest.RunVictim(scenarios()...)
	roles.Run(&shiplap.Options{NoSweep: true})
	leaktest.Main(m)
}

// roles of peers stand beside their tests.
var roles = peertest.Roles[int]{}
