// Package lock excludes and orders processes, and the goroutines in them, by name: Mutex, RWMutex,
// Semaphore, Cond, Event, Barrier. What a process holds when it is killed, at whatever instruction,
// passes to others within milliseconds, and only then: a stopped process keeps what it holds.
//
// # When an owner dies
//
// Mutex.Lock and RWMutex.Lock then return shiplap.ErrOwnerDied with the lock held, for nobody but the program
// knows whether what it protects is whole:
//
//	err := m.Lock(ctx)
//	if errors.Is(err, shiplap.ErrOwnerDied) {
//		repair()
//		err = m.Repaired()
//	}
//	if err != nil {
//		return err
//	}
//	defer m.Unlock()
//
// A dead reader leaves nothing to repair. Permits that a dead process held go back to their semaphore.
// A barrier at which a process died while it waited is broken.
//
// # Fairness
//
// A lock that is free goes to whoever asks first: that is fast, and mostly fair. A waiter that had to sleep for it four
// times without getting it gets in line. While somebody stands in line, newcomers stay behind, and sleepers get their
// turns in the order in which they fell asleep: whoever stands in line has the lock after at most three turns of each
// process and goroutine that waits. The line has one place. Others who are hungry try for it whenever they wake up,
// which they do every quarter of a second at the latest; until they have it, newcomers may overtake them. TryLock does
// not stand behind the line. What waits for permits of a semaphore waits behind such a lock, too.
//
// # Resetting a barrier
//
// Let one process reset a broken barrier, once it knows that the others have heard: if each party resets it when it
// gets ErrBroken, they break up each other's next round.
//
// # Layout
//
// docs/layout.md describes each object byte by byte, so that programs in other languages can take part.
package lock
