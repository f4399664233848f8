package shm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// AttachWait is Attach that waits until the segment is there and has been given its size.
func AttachWait(ctx context.Context, name string, opt *Options) (*Segment, error) {
	o := opt.or()
	file, err := fileName(name, mostThere)
	if err != nil {
		return nil, fmt.Errorf("shm: %w", err)
	}
	var s *Segment
	err = watch(ctx, o.dir(), file, func() (done bool, err error) {
		s, err = attach(name, &o)
		if err == nil {
			return true, nil
		}
		return false, err
	}, func(err error) bool { return errors.Is(err, errs.ErrNotExist) || errors.Is(err, errs.ErrBusy) })
	if err != nil {
		return nil, fmt.Errorf("shm: %w", err)
	}
	return s, nil
}

// Hold keeps the segment's name where it is until ctx is done: when somebody removes it, Python's
// resource tracker for one, Hold puts it back at once. It returns nil when ctx is done. The segment has
// to be kept (Options.Keep). While Hold runs nobody can remove the name for good, this process's Unlink
// included; end it before that, and before Close.
func (s *Segment) Hold(ctx context.Context) error {
	if !s.kept {
		return s.fail("hold", fmt.Errorf("%w: it was made or attached without Keep", fs.ErrInvalid))
	}
	err := watch(ctx, s.dir, s.name, func() (bool, error) { return false, s.Relink() }, func(error) bool { return false })
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// lookEvery is how often watch looks without having been told, where the kernel cannot tell.
const lookEvery = 250 * time.Millisecond

// watch calls look at once and whenever something happened to dir/file, until it is done, fails with an
// error that is not to be waited for, or ctx is done.
func watch(ctx context.Context, dir, file string, look func() (bool, error), wait func(error) bool) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	told := err == nil
	var events *os.File
	if told {
		events = os.NewFile(uintptr(fd), "inotify")
		defer events.Close()
		_, err = unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_MOVED_FROM|unix.IN_DELETE|unix.IN_ONLYDIR)
		told = err == nil
	}
	if told {
		stop := context.AfterFunc(ctx, func() { events.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
	}
	buf := make([]byte, 16<<10)
	for armed := false; ; armed = false {
	again:
		done, err := look()
		if done || err != nil && !wait(err) {
			return err
		}
		if told && !armed && errors.Is(err, errs.ErrBusy) { // an empty file: its size tells
			_, _ = unix.InotifyAddWatch(fd, filepath.Join(dir, file), unix.IN_MODIFY|unix.IN_DONT_FOLLOW)
			armed = true
			goto again
		}
		if told {
			_, e := events.Read(buf)
			if e != nil && ctx.Err() == nil {
				return fmt.Errorf("watch %s: %w", dir, e)
			}
		} else {
			select {
			case <-ctx.Done():
			case <-time.After(lookEvery):
			}
		}
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}
