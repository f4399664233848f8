// Package racetest races real processes against each other, with many goroutines on one handle,
// while handles and domains close, processes die, stop, fork and call exec, and objects and their
// directory are removed. The kill harness (internal/killtest) tries one death at every instruction
// while calm survivors look on; this one tries what happens when everything happens at once, at
// random.
//
// There are two kinds of scenes. In a storm, workers use one object in cycles: join, open, let some
// goroutines take turns, close at a random moment. Meanwhile the supervisor does harm. In a vigil,
// a victim holds what a waiter waits for, and then leaves in one of several ways, at a random
// moment; nothing but its leaving can end the wait.
//
// The supervisor judges by a ledger, a mapped file beside the domain that no code under test
// touches: marks say who is inside of what, cells say what became of each message, and slots say
// what each goroutine does and since when. Only the supervisor kills, and it writes that down
// before it does, so whether an owner was alive is never a guess.
//
// Programs that run scenes call [Main] first: a worker is the same program, executed again.
package racetest
