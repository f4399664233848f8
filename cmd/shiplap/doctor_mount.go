package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/segment"
)

const (
	dockerDefault = 64 << 20 // of /dev/shm in a container that asks for nothing
	lowSpace      = 16 << 20
)

func examineMount(at *place) []finding {
	const check = "memory"
	base := segment.Base(at.dir)
	remedy := "set SHIPLAP_DIR to a directory on a tmpfs; in a container: docker run --shm-size=1g"
	var st unix.Statfs_t
	if err := unix.Statfs(base, &st); err != nil {
		return []finding{bad(check, remedy, "%s: %v", base, err)}
	}
	m := mountOf(base)
	where := fmt.Sprintf("%s, %s on %s", base, m.fstype, m.point)
	all := []finding{}
	switch {
	case st.Flags&unix.ST_RDONLY != 0:
		all = append(all, bad(check, remedy, "%s is mounted read-only", where))
	case st.Type != unix.TMPFS_MAGIC:
		all = append(all, warn(check, remedy, "%s is no tmpfs: what lies there may be written to a disk", where))
	default:
		all = append(all, good(check, "%s", where))
	}
	total, free := st.Blocks*uint64(st.Bsize), st.Bavail*uint64(st.Bsize)
	space := fmt.Sprintf("%s free of %s", formatSize(int64(free)), formatSize(int64(total)))
	switch {
	case free < lowSpace:
		all = append(all, warn("space", "free some, enlarge it (mount -o remount,size=1g "+m.point+"), or set SHIPLAP_DIR", "%s", space))
	case total <= dockerDefault:
		all = append(all, warn("space", "docker run --shm-size=1g, or mount a larger tmpfs and set SHIPLAP_DIR", "%s: the default of containers", space))
	default:
		all = append(all, good("space", "%s", space))
	}
	return append(all, examineBase(base), examineFiles(base))
}

// examineBase looks whether others could exchange this user's directory in it.
func examineBase(base string) finding {
	const check = "directory"
	st, err := os.Stat(base)
	if err != nil {
		return bad(check, "", "%v", err)
	}
	if st.Mode().Perm()&0o022 != 0 && st.Mode()&os.ModeSticky == 0 {
		return warn(check, "chmod +t "+segment.ShellQuote(base)+", or set SHIPLAP_DIR to a directory of your own",
			"%s: mode %04o without the sticky bit: other users can put another directory in the place of yours", base, st.Mode().Perm())
	}
	return good(check, "%s: nobody else can exchange what is yours", base)
}

// examineFiles tries, with a file without a name, what objects need of the file system.
func examineFiles(base string) finding {
	const check = "file system"
	remedy := "set SHIPLAP_DIR to a directory that you may write to, on a tmpfs"
	fd, err := unix.Open(base, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		if unix.Access(base, unix.W_OK|unix.X_OK) == nil && err == unix.EOPNOTSUPP {
			return warn(check, remedy, "%s: cannot be tried without leaving a trace (O_TMPFILE: %v)", base, err)
		}
		return bad(check, remedy, "%s: cannot make a file: %v", base, err)
	}
	defer unix.Close(fd)
	if err := unix.Fallocate(fd, 0, 0, 4096); err != nil {
		return bad(check, remedy, "%s: cannot reserve memory (fallocate): %v", base, err)
	}
	lk := unix.Flock_t{Type: unix.F_WRLCK, Len: 1}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lk); err != nil {
		return bad(check, remedy, "%s: no open file description locks, by which the dead are told: %v", base, err)
	}
	return good(check, "reserves memory, has open file description locks")
}

type mount struct{ point, fstype string }

func mountOf(path string) mount {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return mount{"?", "unknown"}
	}
	defer f.Close()
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return findMount(f, path)
}

// findMount looks for the last mount on the longest prefix of path (see proc_pid_mountinfo(5)).
func findMount(r io.Reader, path string) mount {
	best := mount{"?", "unknown"}
	length := 0
	for s := bufio.NewScanner(r); s.Scan(); {
		left, right, ok := strings.Cut(s.Text(), " - ")
		fields, kind := strings.Fields(left), strings.Fields(right)
		if !ok || len(fields) < 5 || len(kind) == 0 {
			continue
		}
		point := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`).Replace(fields[4])
		below := point == "/" || path == point || strings.HasPrefix(path, point+"/")
		if below && len(point) >= length {
			best, length = mount{point, kind[0]}, len(point)
		}
	}
	return best
}
