package shared

import (
	"github.com/shiplap-ipc/shiplap/internal/object"
)

// Options of a value. The zero value is good. They count only for who makes it.
type Options struct {
	// Ephemeral removes the object with its last user, also when that dies.
	Ephemeral bool
	// Label is free text for people, up to 256 bytes.
	Label string
	// Unlocked makes it without a lock for its users.
	Unlocked bool
}

// ArrayOptions of an array. The zero value is good. They count only for who makes it.
type ArrayOptions struct {
	// Ephemeral removes the object with its last user, also when that dies.
	Ephemeral bool
	// Label is free text for people, up to 256 bytes.
	Label string
	// Unlocked makes it without a lock for its users.
	Unlocked bool
	// Frames is how many frames the array has. 0 and 1 make a plain array, which is changed in place; 2 and more one
	// that is published frame by frame. While a reader looks at a frame, Frames-2 newer ones may be published.
	Frames int
}

func (o *Options) spec(kind object.Kind) object.Spec {
	s := object.Spec{
		Kind: kind, Label: o.Label,
		Locks:  []object.LockAt{{Name: "writer", Off: offWriter}},
		Events: []int{offChanged},
	}
	if o.Ephemeral {
		s.Flags |= object.Ephemeral
	}
	if !o.Unlocked {
		s.Locks = append(s.Locks, object.LockAt{Name: "lock", Off: offLock})
	}
	return s
}

func (o *ArrayOptions) general() *Options {
	return &Options{Ephemeral: o.Ephemeral, Label: o.Label, Unlocked: o.Unlocked}
}
