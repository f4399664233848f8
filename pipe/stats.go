package pipe

import (
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
	"github.com/shiplap-ipc/shiplap/internal/wait"

	"github.com/shiplap-ipc/shiplap"
)

// Direction is one direction of a pipe as seen from outside.
type Direction struct {
	Capacity  uint64 `json:"capacity"`   // bytes
	Used      uint64 `json:"used"`       // bytes in use now, record headers included
	HighWater uint64 `json:"high_water"` // most bytes ever in use, to within 1/64 of Capacity
	Depth     uint64 `json:"depth"`      // records (messages, or pieces of the stream) in it
	Sent      uint64 `json:"sent"`       // records sent
	Received  uint64 `json:"received"`   // records received
	Bytes     uint64 `json:"bytes"`      // payload bytes sent
	SendWaits uint64 `json:"send_waits"` // how often the sender slept because it was full
	RecvWaits uint64 `json:"recv_waits"` // how often the receiver slept because it was empty
	Closed    bool   `json:"closed"`     // nothing more will be sent
}

// Stats is a pipe as seen from outside. Counters of an operation in flight may be missing.
type Stats struct {
	Name string    `json:"name"`
	AtoB Direction `json:"a_to_b"`
	BtoA Direction `json:"b_to_a"`
	A    string    `json:"a"` // "free", "held", "closed" or "dead"
	B    string    `json:"b"`
}

// String is one line for people.
func (s Stats) String() string {
	return fmt.Sprintf("pipe %q: A is %s, B is %s; %d bytes from A to B, %d from B to A", s.Name, s.A, s.B, s.AtoB.Bytes, s.BtoA.Bytes)
}

// Stats looks at the pipe.
func (e *End) Stats() (s Stats, err error) {
	if err := e.enter(); err != nil {
		return s, err
	}
	defer e.obj.Gate.Leave()
	s, err = stats(e.obj)
	return s, e.explain(err)
}

// StatsOf looks at the pipe called name without taking an end; it needs nobody alive.
func StatsOf(d *shiplap.Domain, name string) (Stats, error) {
	o, err := space(d).Open(name, object.Pipe, parts)
	if err != nil {
		return Stats{}, err
	}
	defer o.Close()
	s, err := stats(o)
	return s, o.Explain(err)
}

func stats(o *object.Object) (s Stats, err error) {
	s.Name = o.Name
	err = object.Guarded(func() error {
		s.A, s.B = sideState(o, sideA), sideState(o, sideB)
		for i, d := range []*Direction{&s.AtoB, &s.BtoA} {
			var sess wait.Session
			r, err := view(o, i, wait.Sleep, &sess).Stats()
			if err != nil {
				return err
			}
			*d = Direction{Capacity: r.Size, Used: r.Used, HighWater: r.HighWater, Depth: r.Depth, Sent: r.Puts, Received: r.Gets,
				Bytes: r.Bytes, SendWaits: r.PutSleeps, RecvWaits: r.GetSleeps, Closed: r.Closed}
		}
		return nil
	})
	return s, err
}

func sideState(o *object.Object, s side) string {
	lock := rowBase(s.out()) + row.ProducerLock
	owner := lockOwner(o, lock)
	switch {
	case o.Ctl.U32(offOpened).Load()&(1<<s) == 0:
		return "free"
	case owner != 0 && o.Space.Table.Dead(owner) && lockOwner(o, lock) == owner: // first: the other end may have said that nobody takes any more
		return "dead"
	case o.Ctl.U32(offStates+4*s.out()).Load()&row.Closed != 0 && o.Ctl.U32(offStates+4*s.in()).Load()&row.Deaf != 0:
		return "closed"
	case owner == 0: // it was taken over from a dead process, by one that then saw that it cannot be had
		return "dead"
	}
	return "held"
}
