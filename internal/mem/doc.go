// Package mem is the module's view of memory that other processes may write, shrink or scribble on
// at any moment. It promises bounds: no view it hands out reaches outside of its region, and a peer
// that truncates the file behind a mapping becomes an error of the call that noticed (see Guard),
// never a crash.
//
// A Region is a row of spans over one mapped file or over plain Go heap (the "heap twin"), on which
// the race detector, the fuzzer and the schedule explorer run the very same algorithms.
//
// This is one of the two packages that import unsafe. Please do not put algorithms here.
package mem
