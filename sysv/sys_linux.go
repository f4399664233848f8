package sysv

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// sysFile is what a key is made of.
func sysFile(path string) (dev, ino uint64, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, 0, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return uint64(st.Dev), st.Ino, nil
}

func sysGet(key Key, size, flags int) (ID, error) {
	id, err := unix.SysvShmGet(int(key), size, flags)
	return ID(id), err
}

func sysAttach(id ID, addr uintptr, flags int) ([]byte, error) {
	return unix.SysvShmAttach(int(id), addr, flags)
}

func sysDetach(b []byte) error { return unix.SysvShmDetach(b) }

func sysControl(id ID, cmd int) error {
	_, err := unix.SysvShmCtl(int(id), cmd, nil)
	return err
}

func sysStat(id ID) (*Info, error) {
	var d unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(int(id), cmdStat, &d); err != nil {
		return nil, err
	}
	return info(id, &d), nil
}

func sysSet(id ID, uid, gid, mode uint32) error {
	d := unix.SysvShmDesc{Perm: unix.SysvIpcPerm{Uid: uid, Gid: gid, Mode: mode}}
	_, err := unix.SysvShmCtl(int(id), cmdSet, &d)
	return err
}

// Bits of the mode beside the permissions.
const (
	modeRemoved = 0o1000
	modeLocked  = 0o2000
)

func info(id ID, d *unix.SysvShmDesc) *Info {
	return &Info{
		ID:          id,
		Key:         Key(d.Perm.Key),
		Size:        int64(d.Segsz),
		Mode:        fs.FileMode(d.Perm.Mode) & fs.ModePerm,
		UID:         d.Perm.Uid,
		GID:         d.Perm.Gid,
		CreatorUID:  d.Perm.Cuid,
		CreatorGID:  d.Perm.Cgid,
		Attached:    when(int64(d.Atime)),
		Detached:    when(int64(d.Dtime)),
		Changed:     when(int64(d.Ctime)),
		CreatorPID:  int(d.Cpid),
		LastPID:     int(d.Lpid),
		Attachments: int(d.Nattch),
		Removed:     d.Perm.Mode&modeRemoved != 0,
		Locked:      d.Perm.Mode&modeLocked != 0,
	}
}

func when(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// words asks for a record of another type than the one that shmctl is declared with: it begins with
// words of 64 bits on the platforms that there are, and is shorter.
func words(cmd int) (words [9]uint64, result int, err error) {
	var d unix.SysvShmDesc
	result, err = unix.SysvShmCtl(0, cmd, &d)
	b := mem.AsBytes(&d)
	for i := range words {
		words[i] = binary.NativeEndian.Uint64(b[8*i:])
	}
	return words, result, err
}

// sysLimits reads struct shminfo: shmmax, shmmin, shmmni, shmseg, shmall.
func sysLimits() (Limits, error) {
	w, _, err := words(cmdIPCInfo)
	return Limits{MaxSize: w[0], MaxSegments: w[2], MaxPages: w[4], PageSize: os.Getpagesize()}, err
}

// sysUsage reads struct shm_info: used_ids (an int), shm_tot, shm_rss, shm_swp.
func sysUsage() (u Usage, maxIndex int, err error) {
	w, maxIndex, err := words(cmdInfo)
	first := binary.NativeEndian.AppendUint64(nil, w[0])
	return Usage{Segments: int(binary.NativeEndian.Uint32(first)), Pages: w[1], Resident: w[2], Swapped: w[3]}, maxIndex, err
}

func sysList() ([]*Info, error) {
	u, last, err := sysUsage()
	if err != nil {
		return nil, err
	}
	all := listBy(cmdStatAny, last)
	if len(all) == 0 && u.Segments > 0 { // before Linux 4.17
		all = listBy(cmdStatAt, last)
	}
	return all, nil
}

func listBy(cmd, last int) (all []*Info) {
	for i := 0; i <= last; i++ {
		var d unix.SysvShmDesc
		id, err := unix.SysvShmCtl(i, cmd, &d)
		if err == nil { // else there is none at this index
			all = append(all, info(ID(id), &d))
		}
	}
	return all
}

// mapped is the length of the mapping that begins at an address.
func mapped(at uintptr) (uintptr, error) {
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		span, _, _ := strings.Cut(line, " ")
		from, to, _ := strings.Cut(span, "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 == nil && err2 == nil && uintptr(start) == at {
			return uintptr(end - start), nil
		}
	}
	return 0, fmt.Errorf("nothing is mapped at %#x", at)
}
