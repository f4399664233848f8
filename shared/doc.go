// Package shared holds values and arrays that processes have in common, by name: Value[T] and Array[T] for
// types of fixed layout. A process that is killed, at whatever instruction, leaves the old value or the new
// one, and the next writer goes on at once; readers need nobody.
//
// The descriptor of the element type stands in the object and maps one to one to a NumPy dtype; opening an object
// as another type or shape is shiplap.ErrIncompatible. Offsets, sizes, alignment and padding are those of the Go
// type, explicit in the descriptor. A type that holds a pointer, a string, a slice or a map is refused.
//
// # Values
//
// A Value of a scalar type of up to 8 bytes is a machine word: Load, Store, Swap, CompareAndSwap and Add are
// atomic instructions. Everything else has two slots and a version: a writer fills the slot that nobody reads and
// commits it by one store; a reader copies and looks whether the version is still the same. Update changes a value
// by a function, which other Updates wait for.
//
// # Arrays
//
// An array of one frame is memory that all processes change in place: Pin lends it as a View, At and Set
// are checked calls. Snapshot and Replace copy the whole of it under its lock. An array of several frames is
// published frame by frame: Publish fills the next one and commits it by one store, Latest copies the newest, View
// looks at it in place, Watch and Frames wait for newer ones. A publisher that was stopped holds nobody up but
// publishers.
//
// # Their locks
//
// Each object has a robust lock for its users (Lock, Unlock, …; see package lock for what ErrOwnerDied asks for), unless it was made
// Unlocked. It protects what they agree on; no other call needs it, but Snapshot and Replace, which take it.
//
// # In place
//
// Word (see Pin), View and the frame of Publish are borrowed memory. A peer that truncates the file makes accesses to it fault, which ends the
// process unless they run inside Protect. They do not see errors, and reading a bool that a peer has
// made neither true nor false is undefined. The other calls return shiplap.ErrCorrupt in all these cases.
package shared
