// Package room tells whether memory can be had before any of it is taken: of the host, of the control groups of this process,
// and by its limit on the size of files. A process that takes more than there is gets no error from the kernel: it is
// killed by the OOM killer, or by SIGXFSZ.
package room
