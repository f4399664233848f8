// Package logfile is a small log/slog handler: one line a record, to the screen, to one file, or to one file a level.
//
//	[info][2026-03-01 12:00:00.000]: segment created id=5 size=4096
//
// # What is promised
//
// A record is one line, whatever is in it: control characters are written as \n, \x1b and so on. It is appended by one write(2) with O_APPEND,
// so any number of processes may log to the same file, and their lines do not mix (on local file systems; NFS
// does not know O_APPEND). Nothing is held back: what Handle reported as written is in the file, also when the process is
// killed at once. (It is not synced: a crash of the machine may take it.)
//
// The kernel may cut a write short when its process is killed or the disk is full. The next record of this package then ends the
// unfinished line, at the cost of that line's last byte, and stands on a line of its own.
//
// Into a FIFO, records of up to 4096 bytes go whole. A longer one is cut when its reader is late: that is an error, and the next record of
// the same handler begins on a line of its own. While nobody reads a FIFO that is full, logging waits.
//
// A file that was renamed or removed is opened again by its name, which is looked at before each record. So log
// rotation needs no signal; truncating works, too.
//
// slog drops the errors of handlers. See Options.OnError and Handler.Stats.
package logfile
