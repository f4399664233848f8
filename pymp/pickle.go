package pymp

import (
	"errors"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// ErrPickle: the bytes are not a pickle, or hold something else than plain data.
var ErrPickle = errors.New("not a pickle of plain data")

// Python's types that Go has no type for. Elements are as DecodePickle makes them.
type (
	Tuple     []any
	Set       []any  // no order is promised
	FrozenSet []any  // likewise
	ByteArray []byte // bytearray; bytes are []byte
)

// PickleLimits bound what a pickle may hold. Zero fields have the default value.
type PickleLimits struct {
	// MaxObjects is how many objects a pickle may hold (default 1<<20). An object that appears in
	// several places counts in each.
	MaxObjects int
	// MaxDepth is how deep they may be nested (default 500).
	MaxDepth int
}

const (
	defaultMaxObjects = 1 << 20
	defaultMaxDepth   = 500
)

func (l *PickleLimits) resolve() (PickleLimits, error) {
	var r PickleLimits
	if l != nil {
		r = *l
	}
	if r.MaxObjects < 0 || r.MaxDepth < 0 {
		return r, fmt.Errorf("pymp: limits of %d objects and depth %d are negative", r.MaxObjects, r.MaxDepth)
	}
	if r.MaxObjects == 0 {
		r.MaxObjects = defaultMaxObjects
	}
	if r.MaxDepth == 0 {
		r.MaxDepth = defaultMaxDepth
	}
	return r, nil
}

func tooManyObjects(limit int) error {
	return fmt.Errorf("%w: more than %d objects (PickleLimits.MaxObjects; large arrays travel better as raw bytes or in shared memory)", errs.ErrTooLarge, limit)
}

func tooDeep(limit int) error {
	return fmt.Errorf("%w: nested deeper than %d (PickleLimits.MaxDepth)", errs.ErrTooLarge, limit)
}

func badPickle(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrPickle}, args...)...)
}
