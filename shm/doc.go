// Package shm gives shared memory by name, exactly as the SharedMemory of Python's standard library and
// shm_open(3) see it, and anonymous memory that can be sealed and passed on. Create here and attach in
// Python, or the other way round: a segment is the file /dev/shm/NAME, of the size that was asked for
// and nothing else. It is no object of a domain; it has no header, no type and no lock.
//
// Beyond what Python does, memory is reserved when it is made (a full /dev/shm is errs.ErrNoSpace then,
// not a SIGBUS later), a name appears only once the memory behind it is complete, segments can be
// attached read-only, a file that somebody truncates is an error of ReadAt, WriteAt and With, and huge
// pages can be asked for, with a report of what was got.
//
// # Names
//
// A name is what shm_open takes: 1 to 254 bytes without a slash inside and without NUL (one slash before
// it, as in Python's _name, is no part of it). Create leaves out names of 255 bytes, which the older C
// libraries cannot open; Attach takes them. Names are UTF-8 here and in Python, but keep to ASCII where
// a Python takes part that tracks (see below): its tracker cannot spell others, and raises
// UnicodeEncodeError.
//
// # Names that vanish
//
// A Python process removes the segments that it merely attached to when it ends
// (https://github.com/python/cpython/issues/82300): always before 3.13, from then on unless it says
// track=False. (A Python child of a Python process leaves that to its parent's end.) The memory stays
// where it is mapped; but the name is gone, and nobody can attach any more. Linked tells. There are
// three ways around.
//
// Python can be told not to. This works in 3.8 to 3.13 and later:
//
//	import sys
//	from multiprocessing import resource_tracker, shared_memory
//
//	def attach(name):
//	    if sys.version_info >= (3, 13):
//	        return shared_memory.SharedMemory(name, track=False)
//	    segment = shared_memory.SharedMemory(name)
//	    resource_tracker.unregister(segment._name, "shared_memory")
//	    return segment
//
// A segment attached so is to be removed by somebody else: before 3.13 its unlink method makes the
// tracker complain on standard error.
//
// Or this side puts the name back: Relink, or Hold, which does so whenever it is necessary. The kernel
// gives no new name to a file that has lost its last one, so the segment must have been made or
// attached with Options.Keep, which keeps a second, hidden link to the file until the handle is closed.
// When a keeper is killed, its hidden link stays until the next Create, or Sweep, in that directory
// finds that no keeper lives, and removes it; a segment that still has its name is not touched by that.
//
// Or the memory is anonymous: a Python that got its descriptor maps it with mmap.mmap(fd, size), and no
// tracker knows of it.
package shm
