// Package store is a key-value store in shared memory, for all processes of a domain and without a server. It
// promises that a process killed at any instruction leaves the last committed value of every key, and a store
// that the others go on reading and writing; and that reading a key waits for nobody. (All, which reads
// everything as of one moment, may have to wait for writers.)
//
//	s, err := store.OpenOrCreate(d, "config", nil)
//	...
//	_, err = s.Set(ctx, "color", []byte("green"))
//	b, err := s.Get("color")
//
// # Values
//
// A value is bytes, and a note of what they are: bytes (or text), CBOR or JSON. Set writes bytes. The functions and views for
// typed values, Set[T], Get[T] and As[T], write []byte and string as they are, whole numbers as decimal text, which is what Add counts
// with, and everything else in CBOR, or in JSON if the handle was opened so; they read by the note.
//
// # Changes
//
// Each change has a revision. Those of a key only grow, and an entry carries that of its last change; those of different keys
// say nothing about their order.
// Update and DeleteRev change a key only if nobody else did; Create only if it has no value; Add counts. An entry may
// expire. What has expired does not exist; its memory comes back, little by little, with later changes.
//
// A call whose context is over when it begins returns that, and changes nothing; so does one whose context ends while it waits for a lock.
//
// A store is divided by keys into up to eight parts, each with a writers' lock; a change takes one of them for the time that it takes to
// copy the value. A process that is stopped in that time holds up other writers of that part, or of all
// if memory was just taken or freed. It holds up All, Clear and Check, too, which take all parts, but
// which keep none of them while they wait for one. It holds up no Get, Scan or Watch. Stores of few
// keys, and those made with Evict, have one part.
//
// # Memory
//
// A store has its largest size from the beginning, and memory only for what it needs: it grows in steps. When nothing fits
// any more a change returns shiplap.ErrFull, or, if the store was made with Evict, takes away entries that were
// not read lately. A value needs room beside the one that it replaces. Free memory grows together, so that after deleting there is room for values
// of any size.
//
// # Layout
//
// docs/layout.md describes it byte by byte, so that programs in other languages can take part.
package store
