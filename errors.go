package shiplap

import "github.com/shiplap-ipc/shiplap/internal/errs"

// The errors of this module. They come wrapped in what happened and the numbers that help; compare
// with errors.Is.
var (
	// ErrClosed: the handle, or the queue, is closed. It is os.ErrClosed.
	ErrClosed = errs.ErrClosed
	// ErrNotExist: no object of that name. It is fs.ErrNotExist.
	ErrNotExist = errs.ErrNotExist
	// ErrExist: the name is taken. It is fs.ErrExist.
	ErrExist = errs.ErrExist
	// ErrOwnerDied: the lock is held now, but its previous owner died holding it.
	ErrOwnerDied = errs.ErrOwnerDied
	// ErrPeerGone: the process at the other side ended.
	ErrPeerGone = errs.ErrPeerGone
	// ErrCorrupt: the shared memory holds what no correct program writes, or was truncated.
	ErrCorrupt = errs.ErrCorrupt
	// ErrIncompatible: the object is of another kind, type, shape or layout version.
	ErrIncompatible = errs.ErrIncompatible
	// ErrFull: there is no room at this moment.
	ErrFull = errs.ErrFull
	// ErrEmpty: there is nothing to take at this moment.
	ErrEmpty = errs.ErrEmpty
	// ErrTooLarge: it can never fit.
	ErrTooLarge = errs.ErrTooLarge
	// ErrRemoved: the object was removed while it was open.
	ErrRemoved = errs.ErrRemoved
	// ErrConflict: somebody else was first.
	ErrConflict = errs.ErrConflict
	// ErrBusy: an exclusive side is taken.
	ErrBusy = errs.ErrBusy
	// ErrNoSpace: the file system cannot hold the object. Nothing was made.
	ErrNoSpace = errs.ErrNoSpace
	// ErrName: no object or domain can have that name.
	ErrName = errs.ErrName
	// ErrUnsupported: not on this system. It is errors.ErrUnsupported.
	ErrUnsupported = errs.ErrUnsupported
)
