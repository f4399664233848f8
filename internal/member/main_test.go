package member

import (
	"bufio"
	"fmt"
	"os"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

// peerEnv makes the test binary another process of the domain in that directory: it joins, prints
// its token, and lives until its input ends.
const peerEnv = "SHIPLAP_MEMBER_PEER"

func TestMain(m *testing.M) {
	if base := os.Getenv(peerEnv); base != "" {
		peer(base)
	}
	leaktest.Main(m)
}

func peer(base string) {
	d, err := segment.OpenDir(base, "domain", true)
	if err == nil {
		var t *Table
		if t, err = Join(d); err == nil {
			fmt.Println(t.Self())
			bufio.NewReader(os.Stdin).ReadByte()
			err = t.Leave()
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}
