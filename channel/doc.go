// Package channel connects processes by name, in both directions, with typed messages in shared memory. Every
// process of a domain can list the channels in it and open either side of each.
//
// A channel has two sides. Set makes a channel and opens side A; Get opens side B, GetOwn side A. What is
// sent at one side is received at the other, in order, each message by one receiver. Each side may be open in
// several processes, and be used by several goroutines in each.
//
// A handle receives in one of two ways. Active: Receive waits for the next message. Passive: OnReceive
// registers functions that run for the messages that their filters let through; messages go through one after
// the other, unless Options.Workers says more, and different channels do not hold each other up.
//
// SendWith puts a shiplap.Envelope in front of a message, such as a trace context, and ReceiveWith receives
// both. All other ways to receive give the message as it would be without.
//
// # Death
//
// A process may die at any machine instruction: the channel stays usable. When nobody has the other side open
// any more, Send is shiplap.ErrPeerGone, and Receive first gives what is there, then io.EOF if all who had it
// closed it, shiplap.ErrPeerGone if one of them died with it open. Before anybody came, Send fills the
// channel and Receive waits. A side may be opened again, by a process that was restarted, say: then the
// channel goes on, with the messages that nobody had received. A message that a process had received when it
// died is gone with it.
//
// # Channels in messages
//
// A message may carry a Ref, made by Channel.Ref. Its receiver calls Open and has a handle on the side that
// it names, also if it got it through any number of others. Anonymous makes a channel for that purpose, which
// goes with its last user.
//
// # Layout
//
// docs/layout.md describes a channel byte by byte, so that programs in other languages can take part.
package channel
