package object

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

const MiB = 1 << 20

// group makes a memory control group of that size, or skips the test. The group goes with it.
func group(t *testing.T, limit int) (procs string) {
	t.Helper()
	for _, v := range []struct{ root, limit string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, // version 1
		{"/sys/fs/cgroup", "memory.max"},
	} {
		dir := filepath.Join(v.root, fmt.Sprintf("shiplap-test-%d", os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() {
			eventually(t, "the control group goes", func() bool { return os.Remove(dir) == nil })
		})
		if os.WriteFile(filepath.Join(dir, v.limit), []byte(fmt.Sprint(limit)), 0) == nil {
			return filepath.Join(dir, "cgroup.procs")
		}
	}
	t.Skip("no memory control group can be made here")
	return ""
}

// inMemory is a directory on a tmpfs.
func inMemory(t *testing.T) string {
	t.Helper()
	base, err := os.MkdirTemp("/dev/shm", "shiplap-test-")
	if err != nil {
		t.Skipf("no /dev/shm here: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	return base
}

// What a control group has no memory for is an error, when an object is made and when it grows, at once or little by little; the OOM
// killer never comes.
func TestControlGroup(t *testing.T) {
	const limit = 64 * MiB
	base := inMemory(t)
	for _, line := range []string{fmt.Sprintf("big %d", 256*MiB), fmt.Sprintf("grow %d", 256*MiB), fmt.Sprintf("big %d", 4*MiB)} {
		t.Run(line, func(t *testing.T) {
			procs := group(t, limit)
			c := start(t, base)
			if err := os.WriteFile(procs, []byte(fmt.Sprint(c.cmd.Process.Pid)), 0); err != nil {
				t.Fatal(err)
			}
			for range limit / (4 * MiB) {
				fmt.Fprintln(c.in, line)
				got, err := c.out.ReadString('\n')
				if err != nil {
					t.Fatalf("%s: it has ended: %v", line, err)
				}
				if got = strings.TrimSpace(got); got != "ok" {
					if !strings.Contains(got, errs.ErrNoSpace.Error()) || !strings.Contains(got, "the control group ") {
						t.Errorf("%s: %s", line, got)
					}
					if _, err := c.out.ReadString('\n'); err != nil { // the advice
						t.Fatal(err)
					}
					c.do(t, fmt.Sprintf("big %d", 16<<10))
					return
				}
			}
			t.Error("nothing was refused")
		})
	}
}

// A file larger than the process may make is an error, not SIGXFSZ.
func TestFileSizeLimit(t *testing.T) {
	c := start(t, inMemory(t))
	if err := unix.Prlimit(c.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: MiB, Max: MiB}, nil); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{fmt.Sprintf("big %d", 2*MiB), fmt.Sprintf("grow %d", 2*MiB)} {
		if got := c.say(line); !strings.Contains(got, errs.ErrNoSpace.Error()) || !strings.Contains(got, "RLIMIT_FSIZE") {
			t.Errorf("%s: %s", line, got)
		}
		if _, err := c.out.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	c.do(t, fmt.Sprintf("big %d", MiB/2))
}

// BenchmarkCreate is what making and removing a small object costs.
func BenchmarkCreate(b *testing.B) {
	base, err := os.MkdirTemp("/dev/shm", "shiplap-test-")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(base)
	s, err := Enter(base, "domain", 0)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Release()
	for b.Loop() {
		o, err := s.Create("a", spec(Ephemeral))
		if err != nil {
			b.Fatal(err)
		}
		if err := o.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
