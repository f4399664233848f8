// Package topic carries each message to all subscribers, in all processes of a domain: publish and subscribe.
//
// A topic keeps its messages in one ring, which every subscriber reads with a cursor of its own. What happens
// when a subscriber does not keep up is decided when the topic is made. Block: publishers wait for the
// slowest living subscriber, and each gets every message once, in order. Overwrite: publishers never wait,
// and a subscriber that was too slow is told how many messages it missed (ErrLagged), then goes on with the
// oldest that is there.
//
// A process may die at any machine instruction of any call: what Publish reported is there for all, whole,
// what was not reported is there whole or not at all, and a dead subscriber holds nobody up. One that is
// stopped (SIGSTOP) lives: in a topic with Block publishers wait for it, and Stats names it.
//
// Topic is the typed topic, Raw the same in bytes. Their methods may be called concurrently. Publisher
// (RawPublisher) holds the publishing side exclusively, which makes a message a copy and a store. Use each
// Publisher and each Subscription from one goroutine at a time; Close, Lag and String may be called from any.
//
// PublishWith puts a shiplap.Envelope in front of a message, such as a trace context, and ReceiveWith
// receives both. All others receive the message as it would be without.
//
// docs/layout.md describes a topic byte by byte, so that programs in other languages can take part.
package topic
