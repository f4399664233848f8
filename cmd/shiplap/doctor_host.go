package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	fewFiles = 4096  // an open object takes one descriptor
	fewMaps  = 65530 // and up to five mappings

	membarrierGlobalExpedited = 1 << 1
	lastSystemUID             = 999
)

func examineLimits() []finding {
	var all []finding
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		all = append(all, warn("open files", "", "%v", err))
	} else if lim.Max < fewFiles {
		all = append(all, warn("open files", fmt.Sprintf("ulimit -Hn %d, or LimitNOFILE= of the service", fewFiles),
			"at most %d; an open object takes one descriptor", lim.Max))
	} else {
		all = append(all, good("open files", "%d, at most %d", lim.Cur, lim.Max))
	}
	maps, err := readNumber("/proc/sys/vm/max_map_count")
	switch {
	case err != nil:
		all = append(all, warn("mappings", "", "%v", err))
	case maps < fewMaps:
		all = append(all, warn("mappings", fmt.Sprintf("sysctl vm.max_map_count=%d", fewMaps), "vm.max_map_count is %d; an open object takes up to five", maps))
	default:
		all = append(all, good("mappings", "%d (vm.max_map_count)", maps))
	}
	if n := runtime.NumCPU(); n == 1 {
		all = append(all, good("processors", "1: whoever waits sleeps at once"))
	} else {
		all = append(all, good("processors", "%d", n))
	}
	return all
}

func readNumber(path string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

func examineKernel() []finding {
	var u unix.Utsname
	release := "unknown"
	if unix.Uname(&u) == nil {
		release = unix.ByteSliceToString(u.Release[:])
	}
	all := []finding{good("kernel", "%s on %s", release, runtime.GOARCH)}

	// No words to wait for: EINVAL where the system call exists.
	if _, _, e := unix.Syscall6(unix.SYS_FUTEX_WAITV, 0, 0, 0, 0, 0, 0); e == unix.EINVAL {
		all = append(all, good("futex_waitv", "waiting can be cancelled without polling"))
	} else {
		all = append(all, warn("futex_waitv", "Linux 5.16, and a seccomp filter that permits it",
			"missing (%v): waits are cut into slices, cancelling takes longer", e))
	}
	if cmds, _, e := unix.Syscall(unix.SYS_MEMBARRIER, 0, 0, 0); e == 0 && cmds&membarrierGlobalExpedited != 0 {
		all = append(all, good("membarrier", "puts need no fence"))
	} else {
		all = append(all, warn("membarrier", "Linux 4.16, and a seccomp filter that permits it", "missing: each put costs a fence more"))
	}
	if fd, err := unix.PidfdOpen(os.Getpid(), 0); err == nil {
		unix.Close(fd)
		all = append(all, good("pidfd", "deaths are told at once"))
	} else {
		all = append(all, warn("pidfd", "Linux 5.3, and a seccomp filter that permits it", "missing (%v): deaths are noticed within 100 ms", err))
	}
	return all
}

// examineRemoveIPC looks below root for what logind does with a user's files in /dev/shm when his last
// session ends.
func examineRemoveIPC(root string) finding {
	const check = "RemoveIPC"
	if _, err := os.Stat(filepath.Join(root, "run/systemd/system")); errors.Is(err, fs.ErrNotExist) {
		return good(check, "no systemd here")
	}
	value, file := "yes", "the default"
	for _, f := range logindFiles(root) {
		if v := removeIPC(f); v != "" {
			value, file = v, f
		}
	}
	says := fmt.Sprintf("%s (%s)", value, file)
	switch uid := os.Geteuid(); {
	case slices.Contains([]string{"no", "off", "false", "0", "n", "f"}, strings.ToLower(value)):
		return good(check, "%s", says)
	case uid <= lastSystemUID:
		return good(check, "%s, but not for uid %d", says, uid)
	}
	return warn(check, "loginctl enable-linger, or RemoveIPC=no in /etc/systemd/logind.conf.d/shiplap.conf, or a SHIPLAP_DIR elsewhere",
		"%s: at the end of your last login session systemd deletes your files in /dev/shm", says)
}

// logindFiles are in the order in which systemd reads them: later ones win; of drop-ins with the
// same name only the first directory's counts.
func logindFiles(root string) []string {
	dirs := []string{"etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd"}
	var files []string
	drops := map[string]string{}
	for _, d := range slices.Backward(dirs) {
		all, _ := filepath.Glob(filepath.Join(root, d, "logind.conf.d/*.conf"))
		for _, f := range all {
			drops[filepath.Base(f)] = f
		}
	}
	for _, d := range dirs {
		f := filepath.Join(root, d, "logind.conf")
		if _, err := os.Stat(f); err == nil {
			files = append(files, f)
			break
		}
	}
	names := make([]string, 0, len(drops))
	for n := range drops {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		files = append(files, drops[n])
	}
	return files
}

func removeIPC(file string) (value string) {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), "="); ok && strings.TrimSpace(k) == "RemoveIPC" {
			value = strings.TrimSpace(v)
		}
	}
	return value
}
