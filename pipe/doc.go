// Package pipe connects two processes with a full-duplex pipe in shared memory: messages, or a stream of
// bytes as a net.Conn.
//
// Each end is held by one process at a time, from its creation or opening until it is closed or its
// process ends; an end that is finished is not opened again. When the other end is closed, or its
// process dies, what it sent before can still be received, then comes io.EOF; PeerDied tells which it
// was. Sending to an end that is finished is shiplap.ErrPeerGone.
//
// SendWith puts a shiplap.Envelope in front of a message, such as a trace context, and RecvWith receives
// both. Recv, Read and net.Conn give the message as it would be without.
//
// A Pair is a pipe that one process makes for two others, as a parent does for its children.
//
// Listen and Dial set up pipes by name as net.Listen and net.Dial do connections, so that whatever
// speaks net.Conn runs over shared memory.
package pipe
