// Package ring is the one-way row of messages that queues and pipes are made of: any number of
// producers and consumers, of which one at a time puts and one at a time takes.
//
// # Memory
//
// A ring is a power-of-two byte area in which positions only grow (u64; the offset is the position
// modulo the size), and 768 bytes of control words (the constants below). A record begins with a
// header word (u64): bits 0-31 the length of the payload, bit 32 always 1, bits 40-63 the low bits
// of the record's number, counted from 1. In rings with acknowledgement a state word follows. Then
// comes the payload, padded to 8 bytes.
//
// # Commit points
//
// I1: the word at the tail, where the next record's header will stand, is 0.
//
// A producer, holding the producer lock, writes 0 behind the new record, writes the record except
// for its first header word, and commits by storing that word: it makes one record, or a whole
// batch, visible at once. The word "tail" is stored afterwards and may lag behind after a death;
// the next producer walks the headers from there.
//
// A consumer, holding the consumer lock, reads the header at "taken", copies the payload out and
// commits by storing the new "taken". Space up to there is free for producers.
//
// Hence a death anywhere needs no repair but that walk, which changes nothing that others see.
// Waiting consumers look at the very word that the producer stores, in the same cache line as a
// short payload: a message between two running processes costs the move of one cache line.
package ring
