// Package bell lets goroutines sleep in Go's poller until another process wakes them. It promises that
//
//   - ten thousand sleepers take no thread each, and no processor (P) of the Go scheduler;
//   - a wake-up by any process of the domain ends exactly as many sleeps as it was for, in time that does not grow
//     with the number of sleepers;
//   - Poke ends a sleep from inside this process at once;
//   - a wake-up that a dying or stopped process swallowed is made good by the lookout, within 250 ms, or 4 s among many
//     sleepers (see lookout.go);
//   - whatever a peer writes into the FIFO or into the entries costs looks, no more.
//
// A process has one bell in each domain: a FIFO in the domain's directory. An event has a Line of
// entries beside its word, in which processes say how many of their goroutines sleep there. A waker
// takes sleepers off an entry, then writes into the FIFO of the process that owns it. The protocol
// is section 7.1 of docs/layout.md; package wait drives it.
package bell

// A Ready is asked whether a sleeper should be resumed although nothing woke it. It must be cheap
// and must not block: it runs on another goroutine, but never after Park has returned. It may
// panic, for instance on a page that a peer truncated away; that counts as true.
type Ready interface{ Ready() bool }

// Home is the domain that a bell belongs to, as this process sees it. Package member implements it.
type Home interface {
	// Self is the token of this process; 0 if it is no member, and can only ring.
	Self() uint32
	// Dead reports that the owner of a token is gone for certain.
	Dead(token uint32) bool
	// Census is a number that changes when a member dies, leaves or joins.
	Census() uint64
}
