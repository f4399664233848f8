// Package bench measures what Shiplap costs between two processes, and beside it, in turns within the
// same run, the limits of the machine and what people use otherwise. Each case runs in short slices;
// between two slices it is probed how far apart the two processors are at that moment, because
// hypervisors move them: figures are given for "near" and "far" apart.
package bench
