//go:build !linux

package shm

import (
	"context"
	"net"
	"os"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Elsewhere than on Linux there is no way to make a Segment: everything is ErrUnsupported.

// Create is not available on this system.
func Create(string, int64, *Options) (*Segment, error) { return nil, errs.ErrUnsupported }

// Attach is not available on this system.
func Attach(string, *Options) (*Segment, error) { return nil, errs.ErrUnsupported }

// AttachWait is not available on this system.
func AttachWait(context.Context, string, *Options) (*Segment, error) {
	return nil, errs.ErrUnsupported
}

// Anonymous is not available on this system.
func Anonymous(int64, *Options) (*Segment, error) { return nil, errs.ErrUnsupported }

// FromFile is not available on this system.
func FromFile(*os.File, *Options) (*Segment, error) { return nil, errs.ErrUnsupported }

// FromFD is not available on this system.
func FromFD(int, *Options) (*Segment, error) { return nil, errs.ErrUnsupported }

// Receive is not available on this system.
func Receive(context.Context, *net.UnixConn, *Options) (*Segment, error) {
	return nil, errs.ErrUnsupported
}

// Unlink is not available on this system.
func Unlink(string, *Options) error { return errs.ErrUnsupported }

// Stat is not available on this system.
func Stat(string, *Options) (Info, error) { return Info{}, errs.ErrUnsupported }

// List is not available on this system.
func List(*Options) ([]Info, error) { return nil, errs.ErrUnsupported }

// Users is not available on this system.
func Users([]Info) (map[FileID][]User, error) { return nil, errs.ErrUnsupported }

// Sweep is not available on this system.
func Sweep(*Options) ([]string, error) { return nil, errs.ErrUnsupported }

func (s *Segment) Unlink() error                             { return errs.ErrUnsupported }
func (s *Segment) Linked() bool                              { return false }
func (s *Segment) Relink() error                             { return errs.ErrUnsupported }
func (s *Segment) Hold(context.Context) error                { return errs.ErrUnsupported }
func (s *Segment) Stat() (Info, error)                       { return Info{}, errs.ErrUnsupported }
func (s *Segment) Pages() (Pages, error)                     { return Pages{}, errs.ErrUnsupported }
func (s *Segment) Seals() (Seals, error)                     { return 0, errs.ErrUnsupported }
func (s *Segment) Seal(Seals) error                          { return errs.ErrUnsupported }
func (s *Segment) File() (*os.File, error)                   { return nil, errs.ErrUnsupported }
func (s *Segment) Send(context.Context, *net.UnixConn) error { return errs.ErrUnsupported }
func (s *Segment) release() error                            { return errs.ErrUnsupported }
func (s *Segment) truncated() bool                           { return false }
func (s *Segment) shrunk(fault error) error                  { return fault }
