package queue

import (
	"context"

	"github.com/shiplap-ipc/shiplap/internal/row"
)

// Message is a message that was looked at: see Raw.Browse.
type Message struct {
	// Body is a copy of the message.
	Body []byte
	// Count is how often it was handed out; always 0 in a queue without Ack.
	Count int
	// Holder is the pid of the process that has it in its hands, 0 if none has, or if that process is gone.
	Holder int

	queue string // its name
	block []byte // of the envelope, a copy
}

// Browse looks at the first messages of the queue, most at the most, and leaves them there: first those that consumers have in
// their hands. It waits while somebody else holds the consuming side.
func (q *Raw) Browse(ctx context.Context, most int) (all []Message, err error) {
	err = q.call(func() error {
		seen, err := q.row.Browse(ctx, most)
		for _, s := range seen {
			all = append(all, q.message(s))
		}
		return err
	})
	return all, err
}

func (q *Raw) message(s row.Seen) Message {
	m := Message{Body: s.Body, Count: s.Count, queue: q.obj.Name, block: s.Block}
	if s.Holder != 0 {
		if in, ok := q.obj.Space.Table.Lookup(s.Holder); ok && in.Alive {
			m.Holder = in.Pid
		}
	}
	return m
}
