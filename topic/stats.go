package topic

import (
	"fmt"
	"time"

	"github.com/shiplap-ipc/shiplap"
)

// Subscriber is a subscriber as seen from outside.
type Subscriber struct {
	Pid      int       `json:"pid"`
	Alive    bool      `json:"alive"` // one that is dead holds nobody up; its place goes to the next who needs one
	Command  string    `json:"command"`
	Lag      uint64    `json:"lag"`       // messages published and not received yet
	LagBytes uint64    `json:"lag_bytes"` // the same in bytes of the topic
	Received uint64    `json:"received"`  // messages received
	Missed   uint64    `json:"missed"`    // messages that were overwritten before they were received
	Since    time.Time `json:"since"`
	Token    uint32    `json:"token"`
}

// String is one line for people.
func (s Subscriber) String() string {
	state := ""
	if !s.Alive {
		state = ", dead"
	}
	return fmt.Sprintf("pid %d%s, %d messages (%d bytes) behind", s.Pid, state, s.Lag, s.LagBytes)
}

// Stats is a topic as seen from outside. Counters count all processes since the topic was made; an operation in flight,
// or whose process died in it, may be missing from them.
type Stats struct {
	Name           string       `json:"name"`
	Type           string       `json:"type"`
	Policy         string       `json:"policy"`
	Capacity       uint64       `json:"capacity"`      // bytes
	Used           uint64       `json:"used"`          // bytes of the messages that can still be received
	Kept           uint64       `json:"kept"`          // how many those are: what a late joiner can get
	Published      uint64       `json:"published"`     // messages
	Bytes          uint64       `json:"bytes"`         // payload bytes published
	PublishWaits   uint64       `json:"publish_waits"` // how often a publisher slept because a subscriber was slow
	ReceiveWaits   uint64       `json:"receive_waits"` // how often a subscriber slept because there was nothing
	Closed         bool         `json:"closed"`        // nothing more is published
	MaxSubscribers int          `json:"max_subscribers"`
	Subscribers    []Subscriber `json:"subscribers"`
	// Slowest is the living subscriber that is furthest behind, nil if there is none.
	Slowest *Subscriber `json:"slowest"`
}

// String is one line for people.
func (s Stats) String() string {
	line := fmt.Sprintf("topic %q (%s): %d messages published, %d kept in %d of %d bytes, %d subscribers",
		s.Name, s.Policy, s.Published, s.Kept, s.Used, s.Capacity, len(s.Subscribers))
	if s.Slowest != nil {
		line += ", the slowest " + s.Slowest.String()
	}
	return line
}

// Stats looks at the topic; it takes no lock and needs nobody alive.
func (t *Raw) Stats() (s Stats, err error) {
	err = t.obj.Call(func() error {
		f := t.row.Stats()
		s = Stats{
			Name: t.obj.Name, Type: t.obj.Desc, Policy: t.Policy().String(), Capacity: f.Size, Used: f.Used, Kept: f.Kept,
			Published: f.Published, Bytes: f.Bytes, PublishWaits: f.PublishSleeps, ReceiveWaits: f.SubscribeSleeps, Closed: f.Closed,
			MaxSubscribers: int(t.obj.Params[paramSlots]), Subscribers: make([]Subscriber, 0, len(f.Readers)),
		}
		for _, r := range f.Readers {
			m, _ := t.obj.Space.Table.Lookup(r.Token)
			s.Subscribers = append(s.Subscribers, Subscriber{
				Pid: m.Pid, Alive: m.Alive, Command: m.Command, Token: r.Token,
				Lag: r.Messages, LagBytes: r.Bytes, Received: r.Received, Missed: r.Missed, Since: r.Since,
			})
		}
		for i := range s.Subscribers {
			if one := &s.Subscribers[i]; one.Alive && (s.Slowest == nil || one.LagBytes > s.Slowest.LagBytes) {
				s.Slowest = one
			}
		}
		return nil
	})
	return s, err
}

// StatsOf looks at the topic called name.
func StatsOf(d *shiplap.Domain, name string) (Stats, error) {
	t, err := OpenRaw(d, name, nil)
	if err != nil {
		return Stats{}, err
	}
	defer t.Close()
	return t.Stats()
}
