//go:build explore

package bell

import (
	"maps"
	"slices"
)

const hooked = true

// AppendState appends what the bell remembers beside the shared words: places, with their sleepers
// by number.
func (b *Bell) AppendState(to []byte, number func(*Sleeper) byte) []byte {
	tickets := slices.Sorted(maps.Keys(b.tickets))
	for _, t := range tickets {
		p := b.tickets[t]
		to = append(to, byte(t), byte(t>>8), byte(t>>16), byte(p.balance), byte(p.unsure))
		for s := p.first; s != nil; s = s.next {
			to = append(to, number(s))
		}
	}
	for _, t := range slices.Sorted(maps.Keys(b.retired)) {
		to = append(to, byte(t), byte(t>>8), byte(t>>16), byte(b.retired[t]), 255)
	}
	for _, s := range b.parked {
		to = append(to, number(s))
	}
	return append(to, byte(b.ticket))
}

// AppendState appends what a sleeper remembers.
func (s *Sleeper) AppendState(to []byte) []byte {
	var bits byte
	for i, set := range []bool{s.listed, s.rung, s.parked, s.wake, s.poked.Load()} {
		if set {
			bits |= 1 << i
		}
	}
	return append(to, bits)
}

// FirstTicket is the same in each run of an experiment.
func (b *Bell) FirstTicket(t uint32) { b.ticket = t }

// Hooks of builds with the tag "explore": package explore sets them, and stands in for the FIFO and
// the poller.
var (
	// OnRing is called for a ring. If not ok, the bell does it, if it is for this process.
	OnRing func(token, ticket uint32, k int) (arrives, ok bool)
	// OnArm is called before a sleeper is put into its place.
	OnArm func(s *Sleeper)
	// OnPark sleeps until OnResume is called for the sleeper.
	OnPark func(s *Sleeper)
	// OnResume ends the sleep in OnPark.
	OnResume func(s *Sleeper)
)

func hookRing(token, ticket uint32, k int) (arrives, ok bool) {
	if OnRing == nil {
		return false, false
	}
	return OnRing(token, ticket, k)
}

func hookArm(s *Sleeper) {
	if OnArm != nil {
		OnArm(s)
	}
}

func hookPark(s *Sleeper) {
	if OnPark == nil {
		<-s.ch
		return
	}
	OnPark(s)
}

func hookResume(s *Sleeper) {
	if OnResume == nil {
		s.ch <- struct{}{}
		return
	}
	OnResume(s)
}
