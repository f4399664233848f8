package queue

import "fmt"

// Stats is a queue as seen from outside. Counters count all processes since the queue was made; an
// operation in flight, or whose process died in it, may be missing from them.
type Stats struct {
	Name          string `json:"name"`
	Type          string `json:"type"`
	Capacity      uint64 `json:"capacity"`            // bytes
	Used          uint64 `json:"used"`                // bytes in use now, record headers included
	HighWater     uint64 `json:"high_water"`          // most bytes ever in use, to within 1/64 of Capacity
	Depth         uint64 `json:"depth"`               // messages in it, with Ack those handed out included
	Puts          uint64 `json:"puts"`                // messages put
	Gets          uint64 `json:"gets"`                // messages taken, with Ack acknowledged
	Bytes         uint64 `json:"bytes"`               // payload bytes put
	PutWaits      uint64 `json:"put_waits"`           // how often a producer slept because the queue was full
	GetWaits      uint64 `json:"get_waits"`           // how often a consumer slept because it was empty
	Ack           bool   `json:"ack"`                 // made with acknowledgement
	Deliveries    uint64 `json:"deliveries"`          // with Ack: handed out
	Redeliveries  uint64 `json:"redeliveries"`        // with Ack: of those, not for the first time
	MaxDeliveries int    `json:"max_deliveries"`      // with Ack: how often a message is handed out, 0 for no limit
	DeadName      string `json:"dead_name,omitempty"` // with MaxDeliveries: the queue of dead letters
	DeadLetters   uint64 `json:"dead_letters"`        // with MaxDeliveries: moved to the queue of dead letters
	Dropped       uint64 `json:"dropped"`             // with MaxDeliveries: dropped, as there is no such queue
	Closed        bool   `json:"closed"`              // takes no more messages
}

// String is one line for people.
func (s Stats) String() string {
	return fmt.Sprintf("queue %q: %d messages, %d of %d bytes in use (most %d), %d put, %d taken",
		s.Name, s.Depth, s.Used, s.Capacity, s.HighWater, s.Puts, s.Gets)
}

// Stats looks at the queue; it takes no lock and needs nobody alive.
func (q *Raw) Stats() (s Stats, err error) {
	err = q.call(func() error {
		r, err := q.row.Stats()
		s = Stats{
			Name: q.obj.Name, Type: q.obj.Desc, Capacity: r.Size, Used: r.Used, HighWater: r.HighWater,
			Depth: r.Depth, Puts: r.Puts, Gets: r.Gets, Bytes: r.Bytes, PutWaits: r.PutSleeps, GetWaits: r.GetSleeps,
			Ack: q.row.Ack(), Deliveries: r.Deliveries, Redeliveries: r.Redeliveries,
			MaxDeliveries: q.MaxDeliveries(), DeadName: q.DeadLetters(), DeadLetters: r.Buried, Dropped: r.Dropped, Closed: r.Closed,
		}
		return err
	})
	return s, err
}
