// Package sysv shares memory the System V way, with programs in any language that call shmget and
// shmat: keys as glibc's ftok makes them, all flags, and typed answers of shmctl.
//
// A segment belongs to the kernel. It has an ID, perhaps a Key, an owner and a mode, and it outlives
// every process until somebody removes it: kill -9 leaves it behind, and [List], ipcs(1) or
// "shiplap sysv ls" show it. A [Segment] is one attachment of it to this process.
//
// # What is promised
//
// An attached segment cannot be truncated, so reading and writing it never faults, with two
// exceptions that the kernel makes: a segment without reserved memory (SHM_NORESERVE) when the
// memory, or the huge pages, run out; and writing through Bytes of a read-only attachment.
// A removed segment stays usable to whoever has it attached. Detaching waits for calls that are
// inside, and no method touches the memory afterwards.
//
// Nothing here locks: two processes that write the same bytes at once mix them. Keep them in step
// with something else, as package fifo.
//
// # In C
//
//	shmget(key, size, flags)         Get, or Create, Open and OpenOrCreate, which also attach
//	shmat(id, addr, flags)           ID.Attach, with AttachOptions
//	shmdt(addr)                      Segment.Close
//	shmctl(id, IPC_STAT)             ID.Stat
//	shmctl(id, IPC_SET)              ID.Set
//	shmctl(id, IPC_RMID)             ID.Remove
//	shmctl(id, SHM_LOCK)             ID.Lock, ID.Unlock
//	shmctl(0, IPC_INFO), SHM_INFO    SystemLimits, SystemUsage
//	shmctl(index, SHM_STAT_ANY)      List
//	ftok(path, id)                   Ftok
package sysv
