package shiplap

// Envelope is a small map that may stand in front of a message's body: for what belongs to its transport and
// not to the message, such as a trace context, the name to reply to, or an id. Those who do not ask for it
// get the message without. At most 64 keys, of 1 to 255 bytes of UTF-8, and 64 KiB in all; what it takes
// counts as part of the message where messages are limited. An empty one is the same as none. Calls that put
// a message with an envelope return ErrName for a key that cannot be one, and ErrTooLarge where a limit is
// passed.
type Envelope map[string][]byte
