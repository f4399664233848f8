// Package table is the hash table in shared memory that a store is made of: readers take no lock and write nothing,
// one writer at a time changes a stripe of it, and whoever of them dies, at any instruction, leaves the last committed
// value of every key, and a table that others go on with at once.
//
// # Memory
//
// The file is control words, a row of buckets and a heap. The buckets are divided into stripes; each has its own lock, redo log, counters
// and change log. The heap belongs to all, and has a lock and a redo log. A bucket is one cache line: a head word (a sequence number
// that goes up with every change in the bucket, and the link to an overflow bucket), and seven slots, each a word with
// a tag of the key's hash and the place of an entry in the heap. The heap consists of blocks of whole cache lines that know their
// own size and that of the block before them; free ones are in lists by size and grow together with free neighbours.
//
// # How a change is committed
//
// An entry never changes. A Set takes a new block, writes the entry, and then lets the slot point to it; then
// the old block is freed. Every step that needs more than one store is a row of stores written down first: the redo log
// holds pairs of an offset and a word, and one store of their number (armed) makes the row happen. Then the
// stores are done, in their order, and armed becomes 0. Whoever gets the lock and finds armed not 0 does them
// again: they are absolute, so that it may die in it as well. Two words of a stripe (pending) name blocks that are in nobody's hands but
// the lock holder's: taken but not yet in a slot, or taken out of one but not yet free. Whoever finds one after a death
// frees it. So nothing has to be scanned, and nothing leaks.
//
// Taking and freeing a block are rows of the heap's log, which change pending as well. So who takes the lock of a stripe from a dead holder
// first has the heap's finished: a row there that is done later would put a block into his hands, or take one out of them. That he has still to do it
// is a word (unsettled), for he may fail, and die.
//
// Locks are taken in the order of the stripes, then the heap's. Who has one and needs another before it only tries.
//
// Clearing holds the locks of all stripes. It writes down for each up to which revision its entries will count for nothing, in the words of the epoch
// to come, and that it is being cleared; the store of the epoch makes it happen. Then each stripe counts and announces it, by a row,
// done by whoever has its lock.
//
// A Set is three such rows: take a block (its list, its size, pending); the change (the slot, the bucket's head, the change
// log, the revision, the counters, pending = the old block); free the old block. The slot is the first word of the second row: readers
// that see it see the value, whole. Before that row is armed nothing has happened, afterwards everything will.
//
// # Reading
//
// A reader loads the head of the bucket, a slot, the entry, copies the value, and loads the head again. If it is the
// same, and the epoch, then nothing of what was read was changed meanwhile, for a block is not used again before the head of its bucket
// has changed. A stopped writer keeps no reader from that: the head has no state "being changed". A reader that finds the head changed all the
// time, because others write faster than it copies, takes the lock.
//
// # Watching
//
// Each change raises the revision of its stripe and leaves the number of its bucket in the change log, a ring. A watcher reads the buckets
// that the log names, or all of them if it lags more than the log holds, and compares with what it told last.
package table
