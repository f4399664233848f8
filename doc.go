// Package shiplap is shared memory between processes that survives kill -9: the domain that
// processes join, and what can be said about all objects in it. The objects themselves are in the
// packages queue and pipe.
//
// A domain is a directory on a tmpfs, by default below /dev/shm; each object in it is a file with a
// documented layout. There is no daemon. A process may die at any machine instruction: every object
// stays usable, and what it held passes on when the kernel proves it dead, never earlier.
//
// A program that asks for SIGPIPE (os/signal.Notify) may get one on kernels before Linux 6.18 when it
// wakes a process that was killed while it slept. It means nothing there; the wake-up goes to another one.
package shiplap
