package shm

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/room"
)

// Anonymous makes memory without a name (a memfd), all reserved and zero. It reaches other processes
// through File or Send, can be sealed, and is gone with the last process that has it.
//
// With Huge it comes from the host's pool of huge pages (/proc/sys/vm/nr_hugepages), its size rounded
// up to whole ones; if the pool has too few, it is ordinary memory for which transparent huge pages are
// asked. Pages tells what it is.
func Anonymous(size int64, opt *Options) (*Segment, error) {
	o := opt.or()
	s, err := anonymous(size, &o)
	if err != nil {
		return nil, fmt.Errorf("shm: %w", err)
	}
	return s, nil
}

func anonymous(size int64, o *Options) (*Segment, error) {
	mode, err := o.mode()
	switch {
	case err != nil:
		return nil, err
	case size <= 0:
		return nil, fmt.Errorf("%w: anonymous memory of %d bytes: at least 1", fs.ErrInvalid, size)
	case o.ReadOnly, o.Keep, o.Seals != 0:
		return nil, fmt.Errorf("%w: anonymous memory is not made with ReadOnly, Keep or Seals; seal it once it is filled", fs.ErrInvalid)
	}
	note := ""
	if o.Huge {
		s, err := fromPool(size, mode)
		if err == nil {
			return s, nil
		}
		note = fmt.Sprintf("none from the pool (%v)", err)
	}
	const what = "anonymous memory"
	if err := fits("", what, size); err != nil {
		return nil, err
	}
	fd, err := memfd(0)
	if err != nil {
		return nil, err
	}
	s := &Segment{path: what, size: size, fd: fd}
	if err := s.grow(mode, o, noMemory(size)); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	if note != "" && s.hugeNote != "" {
		note += "; "
	}
	s.hugeNote = note + s.hugeNote
	return s, nil
}

func noMemory(size int64) func(error) error {
	return func(cause error) error {
		return fmt.Errorf("%w: anonymous memory wants %d bytes, and the host has them not (%w)", errs.ErrNoSpace, size, cause)
	}
}

// memfd is sealable and, where the kernel knows of that (6.3), never executable.
func memfd(flags int) (int, error) {
	flags |= unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("shiplap", flags|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate("shiplap", flags)
	}
	if err != nil {
		return -1, fmt.Errorf("make anonymous memory: %w", err)
	}
	return fd, nil
}

// fromPool takes huge pages that the administrator has set aside.
func fromPool(size int64, mode uint32) (*Segment, error) {
	page := hugePageSize()
	if page <= 0 {
		return nil, errors.New("the kernel has no huge pages")
	}
	fd, err := memfd(unix.MFD_HUGETLB)
	if err != nil {
		return nil, err
	}
	s := &Segment{path: "anonymous memory", size: (size + page - 1) / page * page, fd: fd}
	err = s.grow(mode, &Options{}, func(cause error) error {
		return fmt.Errorf("%d pages of %d bytes are not free: %w", s.size/page, page, cause)
	})
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return s, nil
}

// hugePageSize is that of the pool that a memfd takes from.
func hugePageSize() int64 { return int64(room.MemInfo("Hugepagesize")) }

func sealsOf(fd int) (Seals, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	return Seals(n), err
}

// Seals are those that the memory has. errs.ErrUnsupported for memory that cannot have any; named
// segments on a tmpfs have SealSeal from birth.
func (s *Segment) Seals() (Seals, error) {
	if !s.users.enter() {
		return 0, s.fail("seals of", errs.ErrClosed)
	}
	defer s.leave()
	seals, err := sealsOf(s.fd)
	if err == unix.EINVAL {
		return 0, s.fail("seals of", errs.ErrUnsupported)
	}
	if err != nil {
		return 0, s.fail("seals of", err)
	}
	return seals, nil
}

// Seal takes rights away from everybody, for ever: see the constants. With SealWrite this handle becomes
// read-only too, its Bytes at the same address; nobody else may have the memory mapped for writing, and
// no call may be inside of it here, or it is errs.ErrBusy. Memory that cannot be sealed (any more) is
// fs.ErrPermission.
func (s *Segment) Seal(seals Seals) error {
	if seals&^knownSeals != 0 {
		return s.fail("seal", fmt.Errorf("%w: seals %v", fs.ErrInvalid, seals))
	}
	var err error
	if seals&SealWrite == 0 || s.ReadOnly() {
		if !s.users.enter() {
			return s.fail("seal", errs.ErrClosed)
		}
		defer s.leave()
		err = s.addSeals(seals)
	} else {
		err = s.users.alone(func() error { return s.freeze(seals) })
	}
	if err != nil {
		return s.fail("seal", err)
	}
	return nil
}

// freeze seals against writing. The kernel does so only while nobody could write through a mapping, so
// ours is taken away and laid back read-only.
func (s *Segment) freeze(seals Seals) error {
	if err := mem.HideBytes(s.b); err != nil {
		return err
	}
	view := mem.Frozen
	sealed := s.addSeals(seals)
	if sealed != nil {
		view = mem.ReadWrite
	} else {
		s.readOnly.Store(true)
	}
	return errors.Join(sealed, mem.RemapBytes(s.b, s.fd, view))
}

func (s *Segment) addSeals(seals Seals) error {
	_, err := unix.FcntlInt(uintptr(s.fd), unix.F_ADD_SEALS, int(seals))
	switch err {
	case nil:
		return nil
	case unix.EBUSY:
		return fmt.Errorf("%w: somebody has it mapped for writing; he has to unmap it first, or use SealFutureWrite", errs.ErrBusy)
	case unix.EPERM:
		now, _ := sealsOf(s.fd)
		return fmt.Errorf("%w: it has the seals %v, or is open for reading only (%w)", fs.ErrPermission, now, err)
	case unix.EINVAL:
		return fmt.Errorf("%w: only anonymous memory can have the seals %v (%w)", errs.ErrUnsupported, seals, err)
	}
	return fmt.Errorf("add the seals %v: %w", seals, err)
}

// demand checks memory that another process made against the seals that were asked for.
func demand(fd int, want Seals) error {
	if want == 0 {
		return nil
	}
	have, err := sealsOf(fd)
	if err != nil {
		return fmt.Errorf("%w: it is no sealable memory, the seals %v are demanded (%w)", errs.ErrIncompatible, want, err)
	}
	if missing := want &^ have; missing != 0 {
		return fmt.Errorf("%w: it has the seals %v, %v are demanded: %v is missing", errs.ErrIncompatible, have, want, missing)
	}
	return nil
}
