//go:build !linux

package pymp

import (
	"context"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Semaphore is a semaphore of Python's multiprocessing; it needs Linux.
type Semaphore struct{ name string }

// SemaphoreStats are what the memory says.
type SemaphoreStats struct{ Value, Waiters uint32 }

// CreateSemaphore needs Linux.
func CreateSemaphore(string, int, *SemaphoreOptions) (*Semaphore, error) {
	return nil, errs.ErrUnsupported
}

// OpenSemaphore needs Linux.
func OpenSemaphore(string, *SemaphoreOptions) (*Semaphore, error) { return nil, errs.ErrUnsupported }

func (s *Semaphore) TryAcquire() (bool, error)      { return false, errs.ErrUnsupported }
func (s *Semaphore) Acquire(context.Context) error  { return errs.ErrUnsupported }
func (s *Semaphore) Release() error                 { return errs.ErrUnsupported }
func (s *Semaphore) Stats() (SemaphoreStats, error) { return SemaphoreStats{}, errs.ErrUnsupported }
func (s *Semaphore) Value() (int, error)            { return 0, errs.ErrUnsupported }
func (s *Semaphore) Name() string                   { return s.name }
func (s *Semaphore) Python() string                 { return "" }
func (s *Semaphore) Unlink() error                  { return errs.ErrUnsupported }
func (s *Semaphore) Close() error                   { return errs.ErrUnsupported }
func (s *Semaphore) String() string                 { return "semaphore " + s.name }
