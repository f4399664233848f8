//go:build !linux

package mem

import "errors"

// View says what a byte mapping may be used for.
type View int

const (
	ReadWrite View = iota // shared with all who map the file
	ReadOnly              // the same, and a store faults
	Frozen                // a read-only view of a file whose bytes cannot change any more (sealed)
)

// MapBytes is not available on this system.
func MapBytes(int, int64, View) ([]byte, error) { return nil, errors.ErrUnsupported }

// HideBytes is not available on this system.
func HideBytes([]byte) error { return errors.ErrUnsupported }

// RemapBytes is not available on this system.
func RemapBytes([]byte, int, View) error { return errors.ErrUnsupported }

// UnmapBytes is not available on this system.
func UnmapBytes([]byte) error { return errors.ErrUnsupported }
