package channel

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// Direction is one direction of a channel as seen from outside.
type Direction struct {
	Capacity     uint64 `json:"capacity"`      // bytes
	Used         uint64 `json:"used"`          // bytes in use now, record headers included
	HighWater    uint64 `json:"high_water"`    // most bytes ever in use, to within 1/64 of Capacity
	Depth        uint64 `json:"depth"`         // messages that wait to be received
	Sent         uint64 `json:"sent"`          // messages
	Received     uint64 `json:"received"`      // messages, those dropped included
	Dropped      uint64 `json:"dropped"`       // messages that passive receivers had no handler for, or could not decode
	Bytes        uint64 `json:"bytes"`         // payload bytes sent
	SendWaits    uint64 `json:"send_waits"`    // how often a sender slept because it was full
	ReceiveWaits uint64 `json:"receive_waits"` // how often a receiver slept because it was empty
}

// SideStats is who has a side open.
type SideStats struct {
	State  string `json:"state"`  // "free" if nobody ever opened it, "held", "closed", or "dead" if somebody died with it open and nobody is there
	Pids   []int  `json:"pids"`   // of the living
	Opened uint32 `json:"opened"` // how often it was opened
}

// Stats is a channel as seen from outside. Counters count all processes since it was made; an operation in
// flight, or whose process died in it, may be missing from them.
type Stats struct {
	Name      string    `json:"name"`
	Type      string    `json:"type"` // descriptor of the messages
	Label     string    `json:"label,omitempty"`
	Ephemeral bool      `json:"ephemeral"`
	AtoB      Direction `json:"a_to_b"`
	BtoA      Direction `json:"b_to_a"`
	A         SideStats `json:"a"`
	B         SideStats `json:"b"`
}

// String is one line for people.
func (s Stats) String() string {
	return fmt.Sprintf("channel %q of %s: A is %s, B is %s; %d messages from A to B, %d of them waiting, %d from B to A, %d waiting",
		s.Name, s.Type, s.A.State, s.B.State, s.AtoB.Sent, s.AtoB.Depth, s.BtoA.Sent, s.BtoA.Depth)
}

// Stats looks at the channel; it takes no lock and needs nobody alive.
func (r *Raw) Stats() (s Stats, err error) {
	err = r.call(func() error {
		s, err = stats(r.obj)
		return err
	})
	return s, err
}

// StatsOf looks at the channel called name without opening a side of it.
func StatsOf(d *shiplap.Domain, name string) (s Stats, err error) {
	o, err := space(d).Open(name, object.Channel, parts)
	if err != nil {
		return s, err
	}
	defer o.Close()
	err = object.Guarded(func() error {
		s, err = stats(o)
		return err
	})
	return s, o.Explain(err)
}

// List looks at all channels of the domain, in the order of their names. One that cannot be read is left out;
// shiplap.Domain.List says why.
func List(d *shiplap.Domain) ([]Stats, error) {
	all := []Stats{}
	infos, err := d.List()
	if err != nil {
		return nil, err
	}
	for _, in := range infos {
		if in.Kind != object.Channel.String() || in.Removed {
			continue
		}
		s, err := StatsOf(d, in.Name)
		switch {
		case err == nil:
			all = append(all, s)
		case errors.Is(err, errs.ErrClosed):
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b Stats) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func stats(o *object.Object) (Stats, error) {
	s := Stats{Name: o.Name, Type: o.Desc, Label: o.Label, Ephemeral: o.Flags&object.Ephemeral != 0}
	for i, d := range []*Direction{&s.AtoB, &s.BtoA} {
		var sess wait.Session
		r, err := view(o, i, wait.Sleep, &sess).Stats()
		if err != nil {
			return s, err
		}
		*d = Direction{Capacity: r.Size, Used: r.Used, HighWater: r.HighWater, Depth: r.Depth, Sent: r.Puts, Received: r.Gets,
			Dropped: dropped(o, i).Load(), Bytes: r.Bytes, SendWaits: r.PutSleeps, ReceiveWaits: r.GetSleeps}
	}
	for i, to := range []*SideStats{&s.A, &s.B} {
		*to = sideStats(o, side(i))
	}
	return s, nil
}

func sideStats(o *object.Object, s side) SideStats {
	st := SideStats{Opened: o.Ctl.U32(offOpens + int(s)*wordGap).Load(), Pids: []int{}}
	died := o.Ctl.U32(offLost+int(s)*wordGap).Load() == st.Opened
	table := holderTable(o.Space, o.Region)
	for _, e := range table.All() {
		if s.handles(e.Number) == 0 {
			continue
		}
		if o.Space.Table.Dead(e.Token) {
			died = died || s.handles(table.DiedWith(e.Token)) > 0
			continue
		}
		m, _ := o.Space.Table.Lookup(e.Token)
		st.Pids = append(st.Pids, m.Pid)
	}
	switch {
	case len(st.Pids) > 0:
		st.State = "held"
	case st.Opened == 0:
		st.State = "free"
	case died:
		st.State = "dead"
	default:
		st.State = "closed"
	}
	return st
}

func dropped(o *object.Object, i int) *mem.U64 { return o.Ctl.U64(offDropped + i*wordGap) }

// drop counts a message that was received for nobody.
func (r *Raw) drop() {
	_ = r.call(func() error {
		dropped(r.obj, r.side.in()).Add(1)
		return nil
	})
}
