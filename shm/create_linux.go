package shm

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Create makes a segment of exactly size bytes, all zero, and maps it. name "" gets one as Python gives:
// psm_ and eight hex digits. Its memory is reserved first, and it appears under its name complete, in
// one step; when Create fails or its process dies in it, there is nothing.
//
// Errors: errs.ErrExist, errs.ErrName, errs.ErrNoSpace (with the numbers), fs.ErrInvalid for a size
// below 1.
func Create(name string, size int64, opt *Options) (*Segment, error) {
	o := opt.or()
	s, err := create(name, size, &o)
	if err != nil {
		return nil, fmt.Errorf("shm: %w", err)
	}
	return s, nil
}

func create(name string, size int64, o *Options) (*Segment, error) {
	mode, err := o.mode()
	switch {
	case err != nil:
		return nil, err
	case size <= 0:
		return nil, fmt.Errorf("%w: create %q with %d bytes: at least 1", fs.ErrInvalid, name, size)
	case o.ReadOnly:
		return nil, fmt.Errorf("%w: create %q read-only: nobody could ever write to it; attach it read-only later", fs.ErrInvalid, name)
	case o.Keep && mode&0o200 == 0:
		return nil, fmt.Errorf("%w: create %q with mode %04o: Keep needs a file that its owner may write", fs.ErrInvalid, name, mode)
	}
	dir, what := o.dir(), "a segment"
	if name != "" {
		if name, err = fileName(name, mostNew); err != nil {
			return nil, err
		}
		what = name
		// Before any work; link decides.
		if path := filepath.Join(dir, name); unix.Faccessat(unix.AT_FDCWD, path, unix.F_OK, unix.AT_SYMLINK_NOFOLLOW) == nil {
			return nil, &fs.PathError{Op: "create", Path: path, Err: errs.ErrExist}
		}
	}
	sweep(dir)
	if err := fits(dir, what, size); err != nil {
		return nil, err
	}
	b, err := newborn(dir)
	if err != nil {
		return nil, explain(err, dir, what, size)
	}
	s := &Segment{dir: dir, path: what, size: size, fd: b.fd}
	if err := s.grow(mode, o, func(cause error) error { return noSpaceIn(dir, what, size, cause) }); err != nil {
		b.discard()
		return nil, errors.Join(err, unix.Close(b.fd))
	}
	if o.Keep {
		err = s.keep(b.temp)
	}
	if err == nil {
		err = s.publish(b, name)
	}
	b.discard()
	if err != nil {
		return nil, explain(errors.Join(err, s.release()), dir, what, size)
	}
	return s, nil
}

// grow reserves and maps the memory.
func (s *Segment) grow(mode uint32, o *Options, noSpace func(error) error) error {
	if err := unix.Fchmod(s.fd, mode); err != nil {
		return fmt.Errorf("chmod %04o: %w", mode, err)
	}
	if _, err := s.identify(); err != nil {
		return err
	}
	if !o.Huge {
		if err := reserve(s.fd, s.size, noSpace); err != nil {
			return err
		}
	} else if err := unix.Ftruncate(s.fd, s.size); err != nil {
		return fmt.Errorf("set the size to %d: %w", s.size, err)
	}
	b, err := mem.MapBytes(s.fd, s.size, mem.ReadWrite)
	if err != nil {
		return err
	}
	s.b = b
	if !o.Huge {
		return nil
	}
	// fallocate would take small pages; a touch through a mapping that wants huge ones takes those.
	err = unix.Madvise(b, unix.MADV_HUGEPAGE)
	if err != nil {
		s.hugeNote = fmt.Sprintf("the kernel refuses MADV_HUGEPAGE: %v", err)
	} else {
		err = populate(b, noSpace)
	}
	if err == nil || s.hugeNote != "" {
		err = reserve(s.fd, s.size, noSpace)
	}
	if err != nil {
		err = errors.Join(err, mem.UnmapBytes(b))
	}
	return err
}

const tries = 100

// publish gives the segment its name: the point from which on it exists.
func (s *Segment) publish(b *birth, name string) error {
	for try := 0; ; try++ {
		n := name
		if n == "" {
			n = autoPrefix + random(4)
		}
		err := b.link(n)
		if err == nil {
			s.name, s.path = n, filepath.Join(b.dir, n)
			return nil
		}
		if name != "" || !errors.Is(err, fs.ErrExist) || try == tries {
			return err
		}
	}
}

// explain turns what creating a file can meet into our errors.
func explain(err error, dir, what string, size int64) error {
	switch {
	case errors.Is(err, errs.ErrNoSpace):
		return err
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return noSpaceIn(dir, what, size, err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w\nset SHIPLAP_SHM_DIR to a writable directory on a tmpfs (in a container, mount one: docker run --shm-size=1g)", err)
	}
	return err
}
