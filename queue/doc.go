// Package queue carries messages from any number of producers to any number of consumers, in any
// processes of a domain. Each message goes to one consumer, in the order in which they were put.
//
// A process may die at any machine instruction of any call: what Put reported is never lost, doubled or torn,
// what was not reported is either there whole or not at all, and whatever the dead process held passes on. In
// queues made with Ack, a delivery whose consumer died goes to the next one; with MaxDeliveries, a message
// that comes back too often goes to a queue of dead letters. RawDelivery.MoveTo moves a message from one
// queue to another such that, whatever dies when, it is in exactly one of the two.
//
// PutWith puts a shiplap.Envelope in front of a message, such as a trace context. GetWith takes both
// (TryPutWith and TryGetWith do not wait), a delivery and what Browse shows have an Envelope; everything else
// gives the message as it would be without.
//
// Queue is the typed queue, Raw the same in bytes. Their methods take the lock of their side for
// each call and may be called concurrently. Producer and Consumer (RawProducer and RawConsumer) hold
// their side exclusively until closed: a message then costs a copy and a store, and can be written
// and read in place. Use each of them from one goroutine at a time; only Close may be called from any.
package queue
