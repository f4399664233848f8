// Package pymp speaks the formats of stock Python's multiprocessing, so that a Go program and an
// unmodified Python (3.8 or later, 64-bit Linux) share memory, locks and connections:
//
//   - ShareableList: multiprocessing.shared_memory.ShareableList, byte for byte.
//   - Semaphore and Lock: multiprocessing's Semaphore, BoundedSemaphore and Lock of the start methods
//     "spawn" and "forkserver".
//   - Listen, Dial and Conn: multiprocessing.connection's Listener, Client and Connection, with every
//     handshake since 3.8 in both roles.
//   - EncodePickle and DecodePickle: what send() and recv() carry, for plain data. Nothing that a pickle says is
//     ever executed.
//
// These are Python's formats with Python's limits. A ShareableList has no lock. Python's locks cannot be
// recovered when their holder dies: whoever waits for one then waits for ever. Programs that
// are all written in Go use packages lock, shared, queue and pipe instead, which survive that.
//
// A lock made here is handed to Python by its name, or as the expression that Lock.Python returns:
//
//	import multiprocessing.synchronize as sync
//	lock = sync.Lock.__new__(sync.Lock)
//	lock.__setstate__((0, 1, 1, name)) # 0, kind (0 RLock, 1 others), maximum, Lock.Name
//
// and one that Python has made ("spawn" or "forkserver", or
// multiprocessing.get_context("spawn").Lock()) is handed to Go by lock._semlock.name.
//
// What a peer writes, into memory or a socket, is an error when it is wrong, never a crash, a hang or
// a large allocation on its word.
package pymp
