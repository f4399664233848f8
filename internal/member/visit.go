package member

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

// Visit opens the table of a domain without becoming a member: it takes no slot, and needs no write access to look. With
// write access a visitor can also remove names and clear the slots of the dead; what for neither needs a token. fs.ErrNotExist
// if there is no table. Leave must follow.
func Visit(dir *segment.Dir) (*Table, error) {
	t := &Table{refs: 1, slot: -1}
	var err error
	if t.file, err = dir.Open(FileName); err != nil {
		if t.file, t.readOnly = readable(dir), true; t.file == nil {
			return nil, beyondRepair(dir, err)
		}
	}
	load := mem.Map
	if t.readOnly {
		load = mem.MapRead
	}
	if err := t.load(load); err != nil {
		t.release()
		return nil, beyondRepair(dir, err)
	}
	if err := t.hang(dir); err != nil {
		t.release()
		return nil, err
	}
	return t, nil
}

// readable opens the table to be looked at; nil if not even that can be had.
func readable(dir *segment.Dir) *segment.File {
	f, err := dir.OpenRead(FileName)
	if err != nil {
		return nil
	}
	return f
}

// load maps the table and checks it.
func (t *Table) load(with func(fd int, parts ...mem.Part) (*mem.Region, error)) (err error) {
	if err := checkTable(t.file); err != nil {
		return err
	}
	if t.region, err = with(t.file.Fd(), mem.Part{Len: fileSize}); err != nil {
		return err
	}
	g := mem.Protect()
	defer g.Recover(&err)
	t.span = t.region.Span(0)
	return checkHeader(t.file.Path(), t.span)
}

// mayWrite says why locks cannot be had.
func (t *Table) mayWrite() error {
	if t.readOnly {
		return &fs.PathError{Op: "change", Path: t.file.Path(), Err: syscall.EROFS}
	}
	return nil
}

// beyondRepair adds what to do about a table that is damaged. Nothing of a domain can be used without: nobody
// could tell who lives.
func beyondRepair(dir *segment.Dir, err error) error {
	refused := errors.Is(err, fs.ErrPermission) && dir.Refused(FileName) != nil
	if !refused && !errors.Is(err, errs.ErrCorrupt) && !errors.Is(err, errs.ErrIncompatible) {
		return err
	}
	return fmt.Errorf("%w\nthe domain cannot be used any more: end the processes that use it, then take it away, and all that is in it: rm -r %s",
		err, segment.ShellQuote(dir.Path()))
}
