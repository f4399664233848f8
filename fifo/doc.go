// Package fifo is named pipes, mkfifo(3), with contexts: a stream of bytes between processes in any language, with a
// file's name and permissions. It is also the bell with which the users of a shared memory keep in step.
//
// # What is promised
//
// Opening waits for the other side, as open(2) does, and unlike it can be cancelled; then no
// goroutine, thread or descriptor is left. Reading and writing wait in the runtime's poller and cost no
// thread. A reader gets io.EOF when the last writer has closed or died, a writer ErrPeerGone when
// the last reader has; never a SIGPIPE. What is opened is a FIFO: other files, devices and symbolic links are
// refused without being opened, and nothing can be put in the FIFO's place meanwhile. /proc must be mounted.
//
// # What others see
//
// A waiting reader holds the FIFO open without blocking, so that a writer finds it, and is told of writers by
// inotify (without a watch left for this user it looks ten times a second). A waiting writer
// blocks a thread in open(2): nothing else lets a reader that blocks there, too, meet it at once. When such a
// writer is cancelled, it opens the reading side for a moment to get its thread back. Another writer that
// blocks in open(2) on the same FIFO at that moment takes this for a reader, and gets EPIPE from
// its first write unless a reader has come by then. (OpenWriter looks once more after it was let in, and
// goes on waiting if there is no reader; it may look too early.) A writer that may not
// read the FIFO cannot do that; it looks ten times a second whether a reader has come.
//
// Writes of up to PIPE_BUF (4096) bytes are not mixed with those of other writers.
package fifo
