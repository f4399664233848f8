//go:build explore

package mutex

import (
	"time"

	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Later replaces timers in builds with the tag "explore"; package explore sets it.
var Later = func(d time.Duration, f func()) { time.AfterFunc(d, f) }

func later(d time.Duration, f func()) { Later(d, f) }

// NewAmong is New for an object without a space: owners stand for its table of members.
func NewAmong(o *object.Object, off int, owners wordlock.Owners) (*Mutex, error) {
	return newMutex(o, off, owners)
}
