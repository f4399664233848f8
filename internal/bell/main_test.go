package bell_test

import (
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/bell"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
)

// order is what a peer is given.
type order struct {
	Sleepers int // goroutines that wait for a message
}

var roles = peertest.Roles[order]{"sleep": sleep, "idle": idle, "answer": answer}

// rescues are those of this process, from its start on.
var rescues = bell.CountRescues()

func TestMain(m *testing.M) {
	roles.Run(nil)
	leaktest.Main(m)
}
