package shm

import (
	"bytes"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// Kinds of files as List tells them by their names.
const (
	KindAuto      = "psm"       // named by Python, or by Create
	KindSemaphore = "semaphore" // of sem_open(3); Python's locks begin with sem.mp-
	KindPrivate   = "private"   // a spare link or a temporary of this package; see Sweep
	KindFile      = "file"      // any other
)

func kindOf(name string) string {
	switch {
	case strings.HasPrefix(name, privatePrefix):
		return KindPrivate
	case strings.HasPrefix(name, autoPrefix):
		return KindAuto
	case strings.HasPrefix(name, "sem."):
		return KindSemaphore
	}
	return KindFile
}

// Info is a segment as seen from outside.
type Info struct {
	Name     string      `json:"name"`
	Kind     string      `json:"kind"`     // one of the Kind constants
	Size     int64       `json:"size"`     // bytes
	Reserved int64       `json:"reserved"` // bytes of memory that it takes; less than Size where nobody reserved it
	Mode     fs.FileMode `json:"mode"`
	UID      uint32      `json:"uid"`
	GID      uint32      `json:"gid"`
	Links    uint64      `json:"links"`   // names of the file; 2 while somebody keeps it
	Changed  time.Time   `json:"changed"` // when it was made or sized, or last written to by write(2)
	Dev      uint64      `json:"dev"`
	Ino      uint64      `json:"ino"`
}

// String is one line for people.
func (i Info) String() string {
	return fmt.Sprintf("%s: %d bytes, %v, uid %d", i.Name, i.Size, i.Mode, i.UID)
}

// User is a process that has a file mapped.
type User struct {
	Pid      int    `json:"pid"`
	Command  string `json:"command"`
	Writable bool   `json:"writable"`
}

// FileID names a file whatever its names are.
type FileID struct{ Dev, Ino uint64 }

// ID is the file's.
func (i Info) ID() FileID { return FileID{i.Dev, i.Ino} }

// parseMaps finds the files in the lines of /proc/PID/maps, and whether each is mapped so that a store
// reaches the file.
func parseMaps(maps []byte) map[FileID]bool {
	all := map[FileID]bool{}
	for line := range bytes.Lines(maps) {
		f := strings.Fields(string(line)) // addresses, rights, offset, device, inode, path
		if len(f) < 5 {
			continue
		}
		a, b, ok := strings.Cut(f[3], ":")
		major, err := strconv.ParseUint(a, 16, 32)
		minor, err2 := strconv.ParseUint(b, 16, 32)
		ino, err3 := strconv.ParseUint(f[4], 10, 64)
		if !ok || err != nil || err2 != nil || err3 != nil || ino == 0 {
			continue
		}
		id := FileID{device(uint32(major), uint32(minor)), ino}
		all[id] = all[id] || len(f[1]) == 4 && f[1][1] == 'w' && f[1][3] == 's'
	}
	return all
}

// device is a device number as stat(2) gives it on Linux.
func device(major, minor uint32) uint64 {
	return uint64(major&0xfff)<<8 | uint64(major&^0xfff)<<32 | uint64(minor&0xff) | uint64(minor&^0xff)<<12
}
