package bench

import (
	"os"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/proc"
)

// envTestPeer makes the test binary the other process.
const envTestPeer = "SHIPLAP_BENCH_TEST_PEER"

func TestMain(m *testing.M) {
	proc.Init()
	if os.Getenv(envTestPeer) != "" {
		if err := Peer(); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	leaktest.Main(m)
}
