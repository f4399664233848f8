package shm

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Stat looks at a segment from outside; it needs no right to open it.
func Stat(name string, opt *Options) (Info, error) {
	file, err := fileName(name, mostThere)
	if err != nil {
		return Info{}, fmt.Errorf("shm: %w", err)
	}
	i, err := stat(opt.dir(), file)
	if err != nil {
		return Info{}, fmt.Errorf("shm: %w", err)
	}
	return i, nil
}

func stat(dir, file string) (Info, error) {
	var st unix.Stat_t
	path := filepath.Join(dir, file)
	if err := unix.Lstat(path, &st); err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return Info{}, fmt.Errorf("%w: not a plain file", &fs.PathError{Op: "stat", Path: path, Err: errs.ErrCorrupt})
	}
	return info(file, &st), nil
}

func info(name string, st *unix.Stat_t) Info {
	return Info{
		Name: name, Kind: kindOf(name), Size: st.Size, Reserved: st.Blocks * 512, Mode: fs.FileMode(st.Mode & 0o777),
		UID: st.Uid, GID: st.Gid, Links: uint64(st.Nlink), Changed: time.Unix(st.Mtim.Unix()), Dev: st.Dev, Ino: st.Ino,
	}
}

// Stat looks at the segment through this handle: Links is 0 once it has no name.
func (s *Segment) Stat() (Info, error) {
	if !s.users.enter() {
		return Info{}, s.fail("stat", errs.ErrClosed)
	}
	defer s.leave()
	var st unix.Stat_t
	if err := unix.Fstat(s.fd, &st); err != nil {
		return Info{}, s.fail("stat", err)
	}
	return info(s.name, &st), nil
}

// List shows the plain files of the directory, sorted by name, whoever made them.
func List(opt *Options) ([]Info, error) {
	dir := opt.dir()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("shm: %w", err)
	}
	var all []Info
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if i, err := stat(dir, e.Name()); err == nil { // else it is gone by now
			all = append(all, i)
		}
	}
	return all, nil
}

// Users finds who has which of the files mapped, as far as this process may look: root sees all, others
// their own processes. It reads the maps of every process.
func Users(files []Info) (map[FileID][]User, error) {
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("shm: %w", err)
	}
	all := map[FileID][]User{}
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		maps, err := os.ReadFile(filepath.Join("/proc", p.Name(), "maps"))
		if err != nil {
			continue
		}
		for id, writable := range parseMaps(maps) {
			if !slices.ContainsFunc(files, func(i Info) bool { return i.ID() == id }) {
				continue
			}
			comm, _ := os.ReadFile(filepath.Join("/proc", p.Name(), "comm"))
			all[id] = append(all[id], User{pid, strings.TrimSpace(string(comm)), writable})
		}
	}
	for _, u := range all {
		slices.SortFunc(u, func(a, b User) int { return a.Pid - b.Pid })
	}
	return all, nil
}
