package member

import "slices"

// Buckets is into how many parts the names of a domain fall for sweeps.
const Buckets = 1 << 10

// Leftover is a member that died without leaving. Its slot stays in use until sweeps have looked at everything that it may
// have left: while there is such a slot, those who join know that there is something to sweep. How far sweeps
// have come since the death stands in the slot's state, so that many short sweeps make a whole one.
//
// Nothing needs the slot to know that its token is dead: a token stays dead when its slot is cleared, for its generation
// does not come again. So temporaries and locks of the dead are recognised later as well; but nobody would look for them.
type Leftover struct {
	Token uint32
	Pid   int
	Next  int // the bucket that comes next; -1 while no sweep has come to this one
	Left  int // buckets to be looked at
}

// The state of a slot in use: 1; of a dead one whose sweep has begun, also the next bucket, and how many are left.
const (
	used      = 1
	nextShift = 8
	leftShift = 20
	partMask  = 1<<11 - 1
)

// Leftovers are all dead members.
func (t *Table) Leftovers() (all []Leftover) {
	for _, token := range t.inUse() {
		if !t.Dead(token) {
			continue
		}
		slot, _ := splitToken(token)
		in, state := t.read(slot)
		if in.Token != token || state == 0 {
			continue
		}
		l := Leftover{Token: token, Pid: in.Pid, Next: -1, Left: Buckets}
		if left := int(state >> leftShift & partMask); left > 0 {
			l.Next, l.Left = int(state>>nextShift&partMask)%Buckets, min(left, Buckets)
		}
		all = append(all, l)
	}
	return all
}

// Advance writes down how far sweeps have come for a dead member; with nothing left, its slot is free. It is not ok if the slot
// has changed hands.
func (t *Table) Advance(l Leftover) (ok bool, err error) {
	slot, _ := splitToken(l.Token)
	if slot == t.slot {
		return false, nil
	}
	state := uint32(0)
	if l.Left > 0 {
		state = used | uint32(l.Next)<<nextShift | uint32(l.Left)<<leftShift
	}
	_, err = t.withClaim(slot, func() error {
		in, was := t.read(slot)
		if ok = in.Token == l.Token && was != 0; !ok {
			return nil
		}
		if state == 0 {
			t.bell.Silence(slot)
		}
		return t.setState(slot, state)
	})
	return ok, err
}

// AnyDead reports whether some member died without leaving, so that a sweep may find work.
func (t *Table) AnyDead() bool { return slices.ContainsFunc(t.inUse(), t.Dead) }
