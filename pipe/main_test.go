package pipe_test

import (
	"errors"
	"os"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
)

// arg is what a role is told.
type arg struct {
	Name   string
	N      int // of whatever the role repeats
	Others int // processes that do the same
}

var roles = peertest.Roles[arg]{
	"both ends": bothEnds, "restart": restart, "listen": listenOnly, "reopen": reopen, "dial": dialMany,
	"http": serveHTTP, "accept": acceptPoor, "answer": answerOnce, "exec": answerAndExec, "produce": produce, "consume": consume, "hold names": holdNames, "echo": echo,
}

// TestMain is a peer or the test run, which must leave nothing behind.
func TestMain(m *testing.M) {
	roles.Run(nil)
	if end := os.Getenv(exampleEnd); end != "" {
		exampleChild(end)
		return
	}
	leaktest.Main(m)
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v; %v is wanted", what, err, want)
	}
}
