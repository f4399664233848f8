package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Error is what a function of another process returned. A function may return one of its own, with a Code and Data that
// its callers know; of other errors the text is carried over, and which of this module's errors it is. errors.Is works
// for these (and for context.Canceled, context.DeadlineExceeded and io.EOF) on both sides.
type Error struct {
	// Code says which error it is: one of this module's ("not_exist", "busy" …), one of the Codes, or the function's
	// own; empty for any other error.
	Code string
	// Message is the text for people.
	Message string
	// Data is the function's own.
	Data []byte
}

// Codes of errors that this package makes.
const (
	CodePanic   = "panic"   // the function panicked
	CodeInvalid = "invalid" // the request could not be decoded
	CodeReply   = "reply"   // the reply could not be encoded
)

// Error is the message, or the code where there is none.
func (e *Error) Error() string {
	switch {
	case e.Message == "":
		return "error " + e.Code
	case e.Code == "" || sentinels[e.Code] != nil:
		return e.Message
	}
	return fmt.Sprintf("%s (%s)", e.Message, e.Code)
}

// Is reports whether the code is that of target.
func (e *Error) Is(target error) bool {
	s := sentinels[e.Code]
	return s != nil && s == target
}

// sentinels are the errors that cross.
var sentinels = map[string]error{
	"closed": errs.ErrClosed, "not_exist": errs.ErrNotExist, "exist": errs.ErrExist, "unsupported": errs.ErrUnsupported,
	"owner_died": errs.ErrOwnerDied, "peer_gone": errs.ErrPeerGone, "corrupt": errs.ErrCorrupt, "incompatible": errs.ErrIncompatible,
	"full": errs.ErrFull, "empty": errs.ErrEmpty, "too_large": errs.ErrTooLarge, "removed": errs.ErrRemoved, "conflict": errs.ErrConflict,
	"busy": errs.ErrBusy, "no_space": errs.ErrNoSpace, "name": errs.ErrName,
	"canceled": context.Canceled, "deadline_exceeded": context.DeadlineExceeded, "eof": io.EOF,
}

// order is in which order an error that is several is looked up: what says most comes first.
var order = strings.Fields("owner_died peer_gone corrupt incompatible too_large removed conflict busy no_space name full empty " +
	"unsupported not_exist exist deadline_exceeded canceled closed eof")

// toError is the form in which an error crosses.
func toError(err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		if own.Error() == err.Error() {
			return own
		}
		return &Error{Code: own.Code, Message: err.Error(), Data: own.Data}
	}
	e := &Error{Message: err.Error()}
	for _, code := range order {
		if errors.Is(err, sentinels[code]) {
			e.Code = code
			break
		}
	}
	return e
}
