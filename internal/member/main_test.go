package member

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
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
			in := bufio.NewReader(os.Stdin)
			order, _ := in.ReadString('\n')
			switch what, path, _ := strings.Cut(strings.TrimSpace(order), " "); what {
			case "run": // a program whose exec hangs
				_ = exec.Command(path).Run()
			case "become":
				err = syscall.Exec(path, []string{path}, os.Environ())
			}
			err = errors.Join(err, t.Leave())
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}
