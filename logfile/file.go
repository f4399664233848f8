package logfile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// file is a file that lines are appended to, perhaps by many processes.
type file struct {
	path string
	mode fs.FileMode

	mu     sync.Mutex
	f      *os.File    // nil until the first record, and once closed
	info   os.FileInfo // of f
	check  bool        // it can be read, so unfinished lines can be found
	closed bool
	torn   bool // the last record in a FIFO is unfinished
}

// open opens the file by its name, or makes it.
func (l *file) open() error {
	// Nonblocking, so that a FIFO without a reader is an error and does not keep us waiting; readable, to find
	// unfinished lines, but not a FIFO: we would be its reader.
	const flags = os.O_CREATE | os.O_APPEND | syscall.O_NONBLOCK
	there, err := os.Stat(l.path)
	check := err != nil || there.Mode().IsRegular()
	var f *os.File
	if check {
		f, err = os.OpenFile(l.path, os.O_RDWR|flags, l.mode)
		check = !errors.Is(err, fs.ErrPermission)
	}
	if !check {
		f, err = os.OpenFile(l.path, os.O_WRONLY|flags, l.mode)
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	if l.f != nil {
		l.f.Close() // it was renamed or removed
	}
	l.f, l.info, l.check = f, info, check && info.Mode().IsRegular()
	return nil
}

func (l *file) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	return f.Close()
}

func (l *file) write(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fmt.Errorf("log to %s: %w", l.path, errs.ErrClosed)
	}
	var renewed error
	if now, err := os.Stat(l.path); l.f == nil || err != nil || !os.SameFile(now, l.info) {
		if renewed = l.open(); l.f == nil {
			return fmt.Errorf("log: %w", renewed)
		}
	}
	if l.torn { // a FIFO takes what it has room for
		line = append([]byte{'\n'}, line...)
	}
	n, err := writeOnce(l.f, line)
	l.torn = l.info.Mode().Type() == fs.ModeNamedPipe && n < len(line) && (l.torn || n > 0)
	if l.torn && err == nil {
		return fmt.Errorf("log to %s: %d of %d bytes were written: %w: the reader of a FIFO is late, and a record of more than %d bytes is cut then",
			l.path, n, len(line), io.ErrShortWrite, pipeBuf)
	}
	if n < len(line) {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || err == nil {
			err = fmt.Errorf("%w (%w)", errs.ErrNoSpace, cmp.Or(err, io.ErrShortWrite))
		}
		return fmt.Errorf("log to %s: %d of %d bytes were written: %w", l.path, n, len(line), err)
	}
	if err := l.finish(line); err != nil {
		return fmt.Errorf("log to %s: end the unfinished line before the record: %w", l.path, err)
	}
	if renewed != nil { // the record is in the file that was renamed or removed
		return fmt.Errorf("log to %s, which has another name by now or none: %w", l.path, renewed)
	}
	return nil
}

// pipeBuf is the longest record that a FIFO takes whole or not at all: PIPE_BUF.
const pipeBuf = 4096

// writeOnce makes one system call: os.File.Write would go on after a short write, behind what others wrote
// meanwhile.
func writeOnce(f *os.File, p []byte) (n int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	e := raw.Write(func(fd uintptr) bool {
		for {
			n, err = syscall.Write(int(fd), p)
			if err != syscall.EINTR {
				return err != syscall.EAGAIN
			}
		}
	})
	return max(n, 0), errors.Join(e, err)
}

// finish looks at the byte before the record, which was written last. If it ends no line, its writer was killed in the middle
// of its write, or had no room, and is past it: the kernel lets writes that append follow each other. Then that byte becomes
// the end of its line.
//
// The byte counts only if the record still stands behind it: after a truncation, what others have written since may be there.
func (l *file) finish(record []byte) error {
	if !l.check {
		return nil
	}
	end, err := l.f.Seek(0, io.SeekCurrent) // where the write ended, whatever came after it
	before := end - int64(len(record)) - 1
	if err != nil || before < 0 {
		return err
	}
	var b [1 + tellTale]byte
	record = record[:min(len(record), tellTale)]
	k, err := l.f.ReadAt(b[:1+len(record)], before)
	if k <= len(record) {
		if err == io.EOF { // somebody truncated the file
			return nil
		}
		return err
	}
	if b[0] == '\n' || !bytes.Equal(b[1:k], record) {
		return nil
	}
	return l.overwrite(before)
}

// tellTale is how many bytes of a record tell it from others: it begins with a time.
const tellTale = 256

// overwrite needs another descriptor: with O_APPEND every write goes to the end.
func (l *file) overwrite(at int64) error {
	f, err := os.OpenFile(l.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !os.SameFile(info, l.info) || info.Size() <= at {
		return err // renamed or truncated meanwhile
	}
	_, err = f.WriteAt([]byte{'\n'}, at)
	return err
}
