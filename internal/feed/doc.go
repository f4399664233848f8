// Package feed is the one-way row of messages that topics are made of: any number of publishers, of which one at a
// time publishes, and any number of subscribers, each of whom reads all of it with a cursor of its own.
//
// # Memory
//
// A power-of-two byte area in which positions only grow (u64; the offset is the position modulo the size), 768 bytes
// of control words, and a table with a slot of 128 bytes for each subscriber (the constants below). A record is a
// header word (u64: bits 0-31 the length of the payload, bits 32-39 always 1, bits 40-63 the low bits of the record's
// number), a word with the whole number, counted from 0, and the payload, padded to 8 bytes.
//
// # Commit points
//
// I1: at the tail, where the next record will stand, the header word is 0, and the number word is its number. So every
// boundary of records tells its number, and it takes one word, the position, to say where somebody is.
//
// A publisher, holding the lock, writes both words behind the new record, writes the record except for its first
// header word, and commits by storing that word: one record, or a whole batch. "tail" is stored afterwards and may lag
// behind after a death; the next publisher walks from there. A subscriber copies a record out and commits by storing
// its cursor.
//
// # Room
//
// Three positions follow each other: freed ≤ floor ≤ tail. What lies before freed may be overwritten, what lies from
// floor on can be read. A publisher who needs room moves floor over the oldest records, and then freed.
//
// Where publishers wait for subscribers (Block), freed follows floor only as far as all cursors have come. floor is
// stored before the cursors are looked at, and who comes new stores its cursor before it looks at floor: either the
// publisher sees the cursor, and waits for it, or the newcomer sees that it is too late, and starts further on. So a
// cursor before freed belongs to a newcomer who has not looked yet, and is no reason to wait.
//
// Where publishers overwrite (Overwrite), freed is floor. A reader copies a record word by word and then looks at
// floor: if that has passed the record, the copy is worth nothing, and the reader goes on at floor, whose number tells
// how many it missed.
//
// # Deaths
//
// Of a publisher: before the commit nothing is visible but that some old records are gone; after it, the tail lags. Of
// a subscriber: its slot holds a dead token. Whoever would have to wait for it sets the token to 0, and so does whoever
// needs a slot.
package feed
