package segment

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Without a descriptor nothing can be opened or made; the error says so, and what helps.
func TestNoDescriptors(t *testing.T) {
	d := domain(t)
	f := made(t, d, "x", int64(os.Getpagesize()))
	if err := f.Publish("x"); err != nil {
		t.Fatal(err)
	}
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: lim.Max}); err != nil {
		t.Fatal(err)
	}
	_, opened := d.Open("x")
	_, temp := d.Temp("y")
	_, dir := OpenDir(os.TempDir(), "d", false)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"open": opened, "make": temp, "directory": dir} {
		if !errors.Is(err, unix.EMFILE) || !strings.Contains(err.Error(), "ulimit -n") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
