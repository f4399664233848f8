package feed

import (
	"context"

	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// What ends a wait on a feed is decided here, in the Looks of its two sides: whether there is a message, or room;
// whether the topic was closed or removed; whether somebody is dead whose death changes that. (The context and the closing
// of the handle are package wait's.)

// side is a Subscriber or a Publisher that waits.
type side interface {
	wait.Until
	Ready() bool
}

// await polls, then sleeps, until ready or until something speaks against waiting on. It returns nil also when nothing
// is certain: the caller looks again.
func (f *Feed) await(ctx context.Context, s side, spin *wait.Spinner) error {
	if ctx.Err() != nil { // also where hostile bytes make us come back again and again
		return context.Cause(ctx)
	}
	if spin.Poll(s) {
		return nil
	}
	return f.Sess.Wait(ctx, s)
}

// Look is that of a subscriber: it waits for a message. A publisher that is busy in a closed topic wakes it, unless that
// dies.
func (s *Subscriber) Look(c *wait.Call) (over bool, err error) {
	f := s.f
	c.Arm(f.published)
	if s.Ready() {
		return true, nil
	}
	if f.IsClosed() && f.busy.Load() != 0 {
		owner := f.Lock.Owner()
		if owner == 0 {
			return true, nil // Ended repairs what a death left
		}
		c.Depend(f.Owners, owner)
		if f.Owners.Dead(owner) {
			return true, nil
		}
	}
	if c.First() {
		f.publishedSleeps.Add(1)
	}
	return false, nil
}

// Stale implements wait.Until.
func (s *Subscriber) Stale() bool { return s.Ready() }

// Abandon implements wait.Until.
func (s *Subscriber) Abandon() {
	if s.Ready() {
		s.f.published.Wake(1)
	}
}

// Look is that of a publisher: it waits for room, which the slowest subscribers hold up, and the deaths of those free it.
func (p *Publisher) Look(c *wait.Call) (over bool, err error) {
	f := p.f
	c.Arm(f.room)
	if p.Ready() {
		return true, nil
	}
	f.each(p.freed, p.want, func(_ int, t uint32) { c.Depend(f.Owners, t) })
	if !before(f.behind(p.freed, p.pos, p.want), p.want) { // some were dead
		return true, nil
	}
	if c.First() {
		f.roomSleeps.Add(1)
	}
	return false, nil
}

// Stale implements wait.Until.
func (p *Publisher) Stale() bool { return p.Ready() }

// Abandon implements wait.Until.
func (p *Publisher) Abandon() {
	if p.Ready() {
		p.f.room.Wake(1)
	}
}
