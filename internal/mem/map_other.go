//go:build !linux

package mem

import "errors"

// Map is not available on this system.
func Map(int, ...Part) (*Region, error) { return nil, errors.ErrUnsupported }

// MapRead is not available on this system.
func MapRead(int, ...Part) (*Region, error) { return nil, errors.ErrUnsupported }

// Unmap does nothing on the heap.
func (r *Region) Unmap() error { return nil }
