// Package member knows which processes belong to a domain and which of them are alive. It promises
// that a process is called dead only when the kernel proves it, however long it has been stopped,
// and that no reuse of a pid, no pid namespace and no clock can deceive it (D12, D13).
//
// Each member holds an open file description lock on the bytes of its slot in the file "#members";
// the kernel drops it with the process. A token names slot and generation in 31 bits.
package member
