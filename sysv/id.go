package sysv

import (
	"fmt"
	"io/fs"
	"math/bits"
	"time"
)

// Flags of Get, with the values of C. The low nine bits are the mode.
const (
	IPC_CREAT     = 0o1000  // make the segment if there is none
	IPC_EXCL      = 0o2000  // with IPC_CREAT: fail if there is one
	SHM_HUGETLB   = 0o4000  // of huge pages, of the system's usual size
	SHM_NORESERVE = 0o10000 // reserve no memory for it
	SHM_HUGE_2MB  = 21 << hugeShift
	SHM_HUGE_1GB  = 30 << hugeShift
)

// hugeShift is where the flags of Get hold the logarithm of the size of a huge page.
const hugeShift = 26

// HugePages is the flag of Get for huge pages of a size in bytes, a power of two; 0 is the system's
// usual size. Which sizes there are, /sys/kernel/mm/hugepages shows.
func HugePages(size int) (int, error) {
	if size == 0 {
		return SHM_HUGETLB, nil
	}
	if size < 0 || size&(size-1) != 0 {
		return 0, fmt.Errorf("huge pages of %d bytes: not a power of two", size)
	}
	return SHM_HUGETLB | bits.TrailingZeros(uint(size))<<hugeShift, nil
}

// ID is the kernel's name of a segment, until it is removed. All methods may be called concurrently.
type ID int

// Get finds a segment by its key, or makes one: shmget. The kernel rounds the size up to whole pages
// and fills a new segment with zeros. Size 0 finds a segment of any size.
//
// ErrNotExist: there is none, and flags lack IPC_CREAT. ErrExist: there is one, and flags have
// IPC_CREAT and IPC_EXCL. ErrIncompatible: there is a smaller one. ErrTooLarge, ErrNoSpace: a limit
// of the system, which the error names. fs.ErrPermission: the mode does not allow it.
func Get(key Key, size, flags int) (ID, error) {
	if size < 0 {
		return 0, fmt.Errorf("get segment with key %v: size %d", key, size)
	}
	id, err := sysGet(key, size, flags)
	if err != nil {
		return 0, getError(key, size, flags, err)
	}
	return id, nil
}

// String names the segment.
func (id ID) String() string { return fmt.Sprintf("segment %d", int(id)) }

// Info is what the kernel knows about a segment.
type Info struct {
	ID          ID          `json:"id"`
	Key         Key         `json:"key"`         // IPC_PRIVATE once it is removed
	Size        int64       `json:"size"`        // in bytes, as it was asked for
	Mode        fs.FileMode `json:"mode"`        // permission bits
	UID         uint32      `json:"uid"`         // of the owner
	GID         uint32      `json:"gid"`         // of the owner
	CreatorUID  uint32      `json:"creator_uid"` // of who made it
	CreatorGID  uint32      `json:"creator_gid"`
	Attached    time.Time   `json:"attached"` // last; zero if never
	Detached    time.Time   `json:"detached"` // last; zero if never
	Changed     time.Time   `json:"changed"`  // made, or owner or mode last set
	CreatorPID  int         `json:"creator_pid"`
	LastPID     int         `json:"last_pid"`    // that attached or detached last; 0 if none did, or it is in another pid namespace
	Attachments int         `json:"attachments"` // a process may have several
	Removed     bool        `json:"removed"`     // goes with its last attachment
	Locked      bool        `json:"locked"`      // in memory: never swapped out
}

// String says it in a line.
func (i *Info) String() string {
	s := fmt.Sprintf("segment %d with key %v: %d bytes, mode %04o, owner uid %d, made by pid %d, attached %d times",
		int(i.ID), i.Key, i.Size, i.Mode, i.UID, i.CreatorPID, i.Attachments)
	if i.Removed {
		s += ", removed"
	}
	return s
}

// Stat asks the kernel about the segment; this takes the permission to read it. ErrNotExist: there is no such
// segment (any more).
func (id ID) Stat() (*Info, error) {
	info, err := sysStat(id)
	if err != nil {
		return nil, idError("stat", id, err)
	}
	return info, nil
}

// Set gives the segment another owner and other permission bits. Only its owner, its creator and
// the superuser may.
func (id ID) Set(uid, gid uint32, mode fs.FileMode) error {
	if mode&^fs.ModePerm != 0 {
		return fmt.Errorf("set mode of %v: %v has more than permission bits", id, mode)
	}
	if err := sysSet(id, uid, gid, uint32(mode)); err != nil {
		return idError("set owner and mode of", id, err)
	}
	return nil
}

// SetMode gives the segment other permission bits and leaves the owner as he is.
func (id ID) SetMode(mode fs.FileMode) error {
	info, err := id.Stat()
	if err != nil {
		return err
	}
	return id.Set(info.UID, info.GID, mode)
}

// Remove marks the segment: its key is free at once, its memory when the last one detaches. Only
// its owner, its creator and the superuser may.
func (id ID) Remove() error {
	if err := sysControl(id, cmdRemove); err != nil {
		return idError("remove", id, err)
	}
	return nil
}

// Lock keeps the segment's pages in memory once they are there: they are not swapped out. It is no lock between
// processes. ErrNoSpace: more than this user may lock.
func (id ID) Lock() error {
	if err := sysControl(id, cmdLock); err != nil {
		return lockError(id, err)
	}
	return nil
}

// Unlock undoes Lock.
func (id ID) Unlock() error {
	if err := sysControl(id, cmdUnlock); err != nil {
		return idError("unlock", id, err)
	}
	return nil
}

// Commands of shmctl.
const (
	cmdRemove  = 0
	cmdSet     = 1
	cmdStat    = 2
	cmdIPCInfo = 3
	cmdLock    = 11
	cmdUnlock  = 12
	cmdStatAt  = 13 // by index
	cmdInfo    = 14
	cmdStatAny = 15 // by index, whatever the mode
)

// Limits are those of the IPC namespace, as /proc/sys/kernel/shm{max,mni,all} set them.
type Limits struct {
	MaxSize     uint64 `json:"max_size"`     // bytes of a segment: SHMMAX
	MaxSegments uint64 `json:"max_segments"` // SHMMNI
	MaxPages    uint64 `json:"max_pages"`    // of all segments together: SHMALL
	PageSize    int    `json:"page_size"`
}

// Usage is what the segments of the IPC namespace use now.
type Usage struct {
	Segments int    `json:"segments"`
	Pages    uint64 `json:"pages"`    // of all segments, whether they were ever touched or not
	Resident uint64 `json:"resident"` // pages in memory
	Swapped  uint64 `json:"swapped"`  // pages in swap space
}

// SystemLimits asks for the limits.
func SystemLimits() (Limits, error) {
	l, err := sysLimits()
	if err != nil {
		return l, fmt.Errorf("limits of System V shared memory: %w", err)
	}
	return l, nil
}

// SystemUsage asks for what is in use.
func SystemUsage() (Usage, error) {
	u, _, err := sysUsage()
	if err != nil {
		return u, fmt.Errorf("use of System V shared memory: %w", err)
	}
	return u, nil
}

// List is all segments of the IPC namespace, also those that this process may not read. Before Linux
// 4.17 it is those that it may.
func List() ([]*Info, error) {
	all, err := sysList()
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	return all, nil
}

// Find looks for the segment with a key, also for one that this process may not read; ErrNotExist if
// there is none.
func Find(key Key) (*Info, error) {
	if key != IPC_PRIVATE {
		if info, err := find(key); err == nil {
			return info, nil
		}
	}
	return nil, getError(key, 0, 0, errNoKey)
}
