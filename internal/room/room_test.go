package room

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const G = 1 << 30

// tree is one of files and their contents, as /proc and /sys show them.
func tree(t *testing.T, files ...string) string {
	t.Helper()
	root := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		write(t, filepath.Join(root, files[i]), files[i+1])
	}
	return root
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func number64(n int64) string { return strconv.FormatInt(n, 10) + "\n" }

func TestAvailable(t *testing.T) {
	host := []string{"proc/meminfo", "MemTotal: 99999999 kB\nMemAvailable:   16777216 kB\nSwapFree:       0 kB\n"}
	swapping := []string{"proc/meminfo", "MemAvailable:   16777216 kB\nSwapFree:       16777216 kB\n"}
	v2 := func(host []string, swapMax string) []string {
		return append(host[:2:2], "proc/self/cgroup", "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max", "max\n", "sys/fs/cgroup/a/b/memory.current", "5\n",
			"sys/fs/cgroup/a/memory.max", number64(4*G), "sys/fs/cgroup/a/memory.current", number64(3*G),
			"sys/fs/cgroup/a/memory.swap.max", swapMax, "sys/fs/cgroup/a/memory.swap.current", number64(G),
			"sys/fs/cgroup/a/memory.stat", "anon 7\ninactive_file "+number64(G))
	}
	v1 := func(host []string, limit, use int64, more ...string) []string {
		return append(append(host[:2:2], "proc/self/cgroup", "4:memory:/c\n1:cpu:/c\n",
			"sys/fs/cgroup/memory/c/memory.limit_in_bytes", number64(limit), "sys/fs/cgroup/memory/c/memory.usage_in_bytes", number64(use),
			"sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n", "sys/fs/cgroup/memory/memory.usage_in_bytes", "0\n"), more...)
	}
	both := []string{"sys/fs/cgroup/memory/c/memory.memsw.limit_in_bytes", number64(5 * G),
		"sys/fs/cgroup/memory/c/memory.memsw.usage_in_bytes", number64(4 * G)}
	for what, c := range map[string]struct {
		files []string
		free  uint64 // without the margin
		of    string
	}{
		"nothing":                    {nil, 0, ""},
		"host":                       {host, 16 * G, "the host's memory"},
		"version 2, outer limit":     {v2(host, "max\n"), 2 * G, "the control group /a"},
		"version 2, with swap":       {v2(swapping, number64(4*G)), 5 * G, "the control group /a"},
		"version 2, without swap":    {v2(swapping, "0\n"), 2 * G, "the control group /a"},
		"version 1, over its limit":  {v1(host, G, 2*G), 0, "the control group /c"},
		"version 1":                  {v1(host, 4*G, 3*G), G, "the control group /c"},
		"version 1, with swap":       {v1(swapping, 4*G, 3*G), 17 * G, "the control group /c"},
		"version 1, limited swap":    {v1(swapping, 4*G, 3*G, both...), G, "the control group /c"},
		"version 1 without a limit":  {v1(host, 1<<62, 3*G), 16 * G, "the host's memory"},
		"version 1, in a container":  {append(v1(host, 1<<62, 0), "proc/self/cgroup", "4:memory:/docker/1234\n"), 16 * G, "the host's memory"},
		"nonsense instead of limits": {append(host, "proc/self/cgroup", "0::/x\nrubbish\n::\n", "sys/fs/cgroup/x/memory.max", "-5 apples"), 16 * G, "the host's memory"},
	} {
		free, of := available(tree(t, c.files...))
		if want := c.free - c.free/margin; free != want || !strings.HasPrefix(of, c.of) || (of == "") != (c.of == "") {
			t.Errorf("%s: %d of %q; want %d", what, free, of, want)
		}
	}
	if free, of := available("/"); of == "" || free == 0 {
		t.Errorf("here: %d of %q", free, of)
	}
}

// What is taken is counted, so that many small ones do not get past the limit; and the files are hardly ever read.
func TestTake(t *testing.T) {
	const limit = 64 << 20
	group := func(used int64) []string {
		return []string{"proc/self/cgroup", "0::/g\n", "sys/fs/cgroup/g/memory.max", number64(limit), "sys/fs/cgroup/g/memory.current", number64(used)}
	}
	var clock atomic.Int64
	root := tree(t, group(0)...)
	a := &account{root: root, now: func() time.Time { return time.Unix(0, clock.Load()) }}
	if err := a.take("x", limit); !errors.Is(err, errs.ErrNoSpace) || !strings.Contains(err.Error(), "the control group /g") || !strings.Contains(err.Error(), "x wants 67108864") {
		t.Errorf("%v", err)
	}
	taken := int64(0)
	const one = 64 << 10
	for ; a.take("small", one) == nil; taken += one {
		if taken > limit {
			t.Fatal("many small ones get past the limit")
		}
		write(t, filepath.Join(root, "sys/fs/cgroup/g/memory.current"), number64(taken))
	}
	if taken < limit/2 {
		t.Errorf("only %d of %d were given", taken, limit)
	}
	// Somebody else took it: an answer holds for a moment only.
	a = &account{root: tree(t, group(0)...), now: a.now}
	for range 20 {
		if err := a.take("x", one); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(a.root, "sys/fs/cgroup/g/memory.current"), number64(limit))
	clock.Add(int64(valid))
	if err := a.take("x", one); !errors.Is(err, errs.ErrNoSpace) {
		t.Errorf("an old answer: %v", err)
	}
}

func BenchmarkTake(b *testing.B) {
	b.Run("small", func(b *testing.B) {
		for b.Loop() {
			if err := Take("x", 1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("asking", func(b *testing.B) {
		for b.Loop() {
			available("/")
		}
	})
}
