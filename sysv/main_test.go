package sysv_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/sysv"
)

// TestMain is a child or the test run. leaktest does not know segments; newKey looks for those.
func TestMain(m *testing.M) {
	if role := os.Getenv("SYSV_CHILD"); role != "" {
		if err := child(strings.Fields(role)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leaktest.Main(m)
}

// newKey is a key of a file of the test's own. No segment that this process made, or that has this
// key, may be left when the test ends.
func newKey(t testing.TB) sysv.Key {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	ok(t, os.WriteFile(path, nil, 0o600))
	key, err := sysv.Ftok(path, 'T')
	ok(t, err)
	t.Cleanup(func() {
		all, err := sysv.List()
		ok(t, err)
		for _, i := range all {
			if i.Key == key || i.CreatorPID == os.Getpid() {
				t.Errorf("left behind: %v", i)
				i.ID.Remove()
			}
		}
	})
	return key
}

func create(t testing.TB, key sysv.Key, size int, opt *sysv.Options) *sysv.Segment {
	t.Helper()
	s, err := sysv.Create(key, size, opt)
	ok(t, err)
	t.Cleanup(func() {
		s.Close()
		s.ID().Remove()
	})
	return s
}

func attach(t testing.TB, id sysv.ID, opt *sysv.AttachOptions) *sysv.Segment {
	t.Helper()
	s, err := id.Attach(opt)
	ok(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
