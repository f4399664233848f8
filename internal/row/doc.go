// Package row is the one-way row of messages that queues, pipes, channels and topics are made of: any number of
// producers, of which one at a time puts, and readers of one of two sorts. The consumers of a Queue compete: each
// record goes to one of them. The subscribers of a Topic each read all of it, with a cursor of their own.
//
// # Memory
//
// A power-of-two byte area in which positions only grow (u64; the offset is the position modulo the size), 768 bytes of
// control words, and, in topics, a table with a slot of 128 bytes for each subscriber (layout.go). A record begins with
// a header word (u64): bits 0-31 the length of the payload, bits 32-39 always 1, bits 40-63 the low bits of the record's
// number. A second word follows in queues with acknowledgement, its state, and in topics, its whole number. Then comes
// the payload, padded to 8 bytes. The records of queues are counted from 1, those of topics from 0.
//
// # Commit points
//
// I1: the word at the tail, where the next record's header will stand, is 0; in topics the word behind it is the number
// of that record. So every boundary of a topic's records tells its number, and it takes one word, the position, to say
// where somebody is.
//
// A producer, holding the producer lock, writes the words behind the new record, writes the record except for its first
// header word, and commits by storing that word: it makes one record, or a whole batch, visible at once (Commit). The
// word "tail" is stored afterwards and may lag behind after a death; the next producer walks the headers from there
// (Resume).
//
// A consumer, holding the consumer lock, reads the header at "taken", copies the payload out and commits by storing the
// new "taken". With acknowledgement, each step of a record is a CAS of its state word. A subscriber copies a record out
// and commits by storing its cursor.
//
// Hence a death anywhere needs no repair but that walk, which changes nothing that others see. Waiting readers look at
// the very word that the producer stores, in the same cache line as a short payload: a message between two running
// processes costs the move of one cache line.
//
// # Room
//
// In a queue, what lies before taken is free. In a topic three positions follow each other: freed ≤ floor ≤ tail. What
// lies before freed may be overwritten, what lies from floor on can be read. A producer that needs room moves floor over
// the oldest records, and then freed.
//
// Where producers wait for subscribers, freed follows floor only as far as all cursors have come. floor is stored before
// the cursors are looked at, and a newcomer stores its cursor before it looks at floor: either the producer sees the
// cursor, and waits for it, or the newcomer sees that it is too late, and starts further on. So a cursor before freed
// belongs to a newcomer that has not looked yet, and is no reason to wait.
//
// Where producers overwrite, freed is floor. A reader copies a record word by word and then looks at floor: if that has
// passed the record, the copy is worth nothing, and the reader goes on at floor, whose number tells how many it missed.
//
// # Hints
//
// These words speed things up, or count. Each may be wrong, but only as said here; the explorer checks it at the end of
// each schedule of the scenes of queues and topics (Audit), whatever died in it.
//
//	hint           | what is true of it                                    | repaired by             | read by
//	tail           | at a record's boundary, at or before the true tail;   | Resume, which walks     | Resume, Stats, newcomers
//	               | before taken only after a death                       |                         | and Lag of topics
//	seen           | a past value of taken: never beyond it                | look, at the next       | resumeShared: how much room
//	               |                                                       | put without room        | there is at least
//	puts           | with tail: at most the records before the true tail   | Resume, from headers    | Commit: the next number
//	bytes, high    | behind by what was being put at a death               | nobody, Commit goes on  | Stats
//	busy           | 0 while nobody has the producer lock, unless its last | Resume; final, which    | over, final, stuck
//	               | owner died                                            | finds the lock free     |
//	gets           | at most the records before taken                      | Resume of Consumer,     | Stats, Resume
//	               |                                                       | reclaim, from headers   |
//	partial        | counts only if its position is that of taken          | it need not be          | Resume of Consumer
//	cursor         | before it nothing was never handed out, unless again  | take, which moves on    | take, readiness
//	               | is set; before taken only after a death               | leasing.resume          |
//	again          | 1 if a record before cursor is ready; it may be 1     | take, which scans all   | take, readiness
//	               | in vain, and 0 beside a dead holder's record          | before cursor           |
//	leases         | grows with each delivery, but for the last one of the | nobody: a look more     | scan each scanEvery, waits
//	               | dead                                                  |                         | that look for new holders
//	freed, floor   | freed ≤ floor ≤ tail (topics), at records' boundaries | makeRoom                | producers; subscribers
//	               | but for freed                                         |                         |
//	used           | no slot from this number on was ever used             | never wrong             | looks at the slots
//	number (slot)  | that of the record at the cursor, or one behind at a  | the subscriber's next   | Lag, Stats
//	               | death                                                 | commit                  |
package row
