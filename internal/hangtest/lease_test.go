//go:build linux

package hangtest

import (
	"errors"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestLease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	for range 2 { // the second time the program is there
		letGo, err := Lease("/bin/true", path)
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- exec.Command(path).Run() }()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			kids := leaktest.Children()
			if len(kids) == 1 && Executing(kids[0]) {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("no child hangs: %v", kids)
			}
		}
		if err := errors.Join(letGo(), letGo()); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if _, err := Lease("/no/such/program", filepath.Join(t.TempDir(), "program")); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}
