package sysv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

var errNoKey error = unix.ENOENT

// both wraps the sentinel and the kernel's word.
func both(sentinel, errno error) error { return fmt.Errorf("%w (%w)", sentinel, errno) }

// find looks by key. Asking for no permission at all, everybody may.
func find(key Key) (*Info, error) {
	id, err := sysGet(key, 0, 0)
	if err != nil {
		return nil, err
	}
	return look(id)
}

// look is Stat also where the mode forbids it.
func look(id ID) (*Info, error) {
	info, err := sysStat(id)
	if err != unix.EACCES {
		return info, err
	}
	all, _ := sysList()
	for _, i := range all {
		if i.ID == id {
			return i, nil
		}
	}
	return nil, err
}

func denied(info *Info, err error) string {
	if err != nil {
		return fmt.Sprintf("this process is uid %d", os.Geteuid())
	}
	return fmt.Sprintf("it belongs to uid %d, gid %d, mode %04o; this process is uid %d, gid %d", info.UID, info.GID, info.Mode, os.Geteuid(), os.Getegid())
}

func getError(key Key, size, flags int, errno error) error {
	what := fmt.Sprintf("segment with key %v", key)
	huge := flags&SHM_HUGETLB != 0
	switch errno {
	case unix.ENOENT:
		if key == IPC_PRIVATE {
			return fmt.Errorf("%s: %w: no segment is found by IPC_PRIVATE", what, errs.ErrNotExist)
		}
		return fmt.Errorf("%s: %w", what, errs.ErrNotExist)
	case unix.EEXIST:
		if info, err := find(key); err == nil {
			return fmt.Errorf("%s: %w: %v", what, errs.ErrExist, info)
		}
		return fmt.Errorf("%s: %w", what, errs.ErrExist)
	case unix.EIDRM:
		return fmt.Errorf("%s: %w", what, both(errs.ErrRemoved, errno))
	case unix.EACCES:
		return fmt.Errorf("%s: %w: %s", what, fs.ErrPermission, denied(find(key)))
	case unix.EPERM:
		if huge {
			return fmt.Errorf("%s: %w: huge pages need CAP_IPC_LOCK or the group in /proc/sys/vm/hugetlb_shm_group", what, fs.ErrPermission)
		}
	case unix.EINVAL:
		if info, err := find(key); err == nil && key != IPC_PRIVATE && info.Size < int64(size) {
			return fmt.Errorf("%s: %w: it has %d bytes, %d were asked for", what, errs.ErrIncompatible, info.Size, size)
		}
		l, err := sysLimits()
		switch {
		case size == 0:
			return fmt.Errorf("make %s: %w: a segment has at least 1 byte", what, errno)
		case err == nil && uint64(size) > l.MaxSize:
			return fmt.Errorf("make %s: %w: %d bytes, at most %d (/proc/sys/kernel/shmmax)", what, errs.ErrTooLarge, size, l.MaxSize)
		case huge:
			return fmt.Errorf("make %s: %w: this system has no huge pages of %d bytes, only %s", what, both(errs.ErrUnsupported, errno), hugeSize(flags), hugeSizes())
		}
	case unix.ENOSPC:
		l, err1 := sysLimits()
		u, _, err2 := sysUsage()
		if errors.Join(err1, err2) == nil {
			page := uint64(l.PageSize)
			return fmt.Errorf("make %s of %d bytes: %w: %d of %d segments (/proc/sys/kernel/shmmni) and %d of %d pages of %d bytes (/proc/sys/kernel/shmall) are in use",
				what, size, both(errs.ErrNoSpace, errno), u.Segments, l.MaxSegments, u.Pages, l.MaxPages, page)
		}
		return fmt.Errorf("make %s of %d bytes: %w", what, size, both(errs.ErrNoSpace, errno))
	case unix.ENOMEM:
		if huge {
			return fmt.Errorf("make %s of %d bytes: %w: %s; more with: sysctl vm.nr_hugepages=N",
				what, size, both(errs.ErrNoSpace, errno), hugeFree(hugeSize(flags)))
		}
		return fmt.Errorf("make %s of %d bytes: %w: not so much memory can be reserved (/proc/meminfo: CommitLimit, Committed_AS)",
			what, size, both(errs.ErrNoSpace, errno))
	}
	return fmt.Errorf("%s: %w", what, errno)
}

// idError is about a segment that was named by its id.
func idError(op string, id ID, errno error) error {
	switch errno {
	case unix.EINVAL: // EIDRM is only said to who asked while it was removed
		return fmt.Errorf("%s %v: %w: never made, or removed", op, id, errs.ErrNotExist)
	case unix.EIDRM:
		return fmt.Errorf("%s %v: %w", op, id, both(errs.ErrRemoved, errno))
	case unix.EACCES, unix.EPERM:
		return fmt.Errorf("%s %v: %w: %s", op, id, fs.ErrPermission, denied(look(id)))
	}
	return fmt.Errorf("%s %v: %w", op, id, errno)
}

func attachError(id ID, addr uintptr, errno error) error {
	if _, err := look(id); err == nil {
		switch {
		case errno == unix.EINVAL && addr != 0:
			return fmt.Errorf("attach %v: %w: at %#x something is mapped already, or it is no address for a process", id, errs.ErrBusy, addr)
		case errno == unix.ENOMEM:
			return fmt.Errorf("attach %v: %w: no room in the address space, or too many mappings (vm.max_map_count)", id, both(errs.ErrNoSpace, errno))
		}
	}
	return idError("attach", id, errno)
}

func lockError(id ID, errno error) error {
	var lim unix.Rlimit
	if errno == unix.ENOMEM || errno == unix.EPERM {
		if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &lim) == nil && (errno == unix.ENOMEM || lim.Cur == 0) {
			return fmt.Errorf("lock %v: %w: this user may lock %d bytes (ulimit -l)", id, both(errs.ErrNoSpace, errno), lim.Cur)
		}
	}
	return idError("lock", id, errno)
}

const hugeDir = "/sys/kernel/mm/hugepages"

// hugeSize is the size in the flags of Get, or the usual one.
func hugeSize(flags int) int64 {
	if log := flags >> hugeShift & 0x3f; log != 0 {
		return 1 << log
	}
	b, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Hugepagesize:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}

func hugeSizes() string {
	dirs, _ := filepath.Glob(hugeDir + "/hugepages-*")
	for i, d := range dirs {
		dirs[i] = strings.TrimPrefix(filepath.Base(d), "hugepages-")
	}
	if len(dirs) == 0 {
		return "none"
	}
	return strings.Join(dirs, ", ")
}

func hugeFree(size int64) string {
	count := func(file string) string {
		b, err := os.ReadFile(fmt.Sprintf("%s/hugepages-%dkB/%s", hugeDir, size>>10, file))
		if err != nil {
			return "?"
		}
		return strings.TrimSpace(string(b))
	}
	return fmt.Sprintf("%s of %s huge pages of %d bytes are free", count("free_hugepages"), count("nr_hugepages"), size)
}
