package channel

import (
	"errors"
	"fmt"
	"io"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/member"
	"github.com/shiplap-ipc/shiplap/internal/shares"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// The holder table says which processes have a side open: that is the truth. A side is gone if it was opened
// at least once and no living process has it open. An entry of the dead says that it died with the side open; whoever
// opens the side next takes it away. A process that needs the entry itself, to open the other side, notes the death elsewhere.

var (
	errPeerClosed = fmt.Errorf("%w: all who had the other side open closed it", errs.ErrPeerGone)
	errPeerDied   = fmt.Errorf("%w: a process died that had the other side open", errs.ErrPeerGone)
)

// peer is a process that has the other side open. As long as it is known to be there, nobody looks for others.
type peer struct {
	token  uint32
	entry  *mem.U64
	sentry *member.Sentry
}

// join counts one handle more of this process on a side. Others see it before they are woken, and are woken before
// the side counts as opened: so whoever learns that it was watches us already, or finds us dead.
func (r *Raw) join(s side) error {
	self := r.members.Self()
	for _, e := range r.table.All() {
		if e.Token == self || !r.members.Dead(e.Token) {
			continue
		}
		if other := s.other(); e.Token%shares.Slots == self%shares.Slots && other.handles(r.table.DiedWith(e.Token)) > 0 {
			r.lost(other).Store(r.opens(other).Load())
		}
		r.forget(e.Token, s)
	}
	if !r.count(s) {
		return fmt.Errorf("%w: this process has %d handles on side %v", errs.ErrFull, mostHandles, s)
	}
	r.wakeAll()
	r.opens(s).Add(1)
	r.wakeAll()
	return nil
}

// count counts one handle more, if that is possible.
func (r *Raw) count(s side) (ok bool) {
	r.table.Update(func(n uint32) uint32 {
		if ok = s.handles(n) < mostHandles; !ok {
			return n
		}
		return n + s.one()
	})
	return ok
}

// leave counts one less, and lets those who wait see whether it was the last.
func (r *Raw) leave(s side) {
	r.table.Update(func(n uint32) uint32 {
		if s.handles(n) == 0 {
			return n
		}
		return n - s.one()
	})
	r.wakeAll()
}

// forget takes a side out of the entry of one who is dead.
func (r *Raw) forget(token uint32, s side) {
	w := r.entry(token)
	for v := w.Load(); uint32(v) == token && s.handles(uint32(v>>32)) > 0; v = w.Load() {
		number := uint32(v>>32) &^ (mostHandles << (16 * s))
		w.CAS(v, uint64(token)|uint64(number)<<32)
	}
}

// entry is the word of the table that belongs to a token.
func (r *Raw) entry(token uint32) *mem.U64 {
	return r.obj.Region.Span(spanTable).U64(int(token%shares.Slots) * entrySize)
}

// opens counts how often a side was opened.
func (r *Raw) opens(s side) *mem.U32 { return r.obj.Ctl.U32(offOpens + int(s)*wordGap) }

// lost is what opens was when a death with the side open was noted.
func (r *Raw) lost(s side) *mem.U32 { return r.obj.Ctl.U32(offLost + int(s)*wordGap) }

func (r *Raw) wakeAll() {
	r.in.WakeEverybody()
	r.out.WakeEverybody()
}

// peerHere reports that the peer that is known is there, as far as is known.
func (r *Raw) peerHere(p *peer) bool {
	if p == nil || p.sentry.Gone() {
		return false
	}
	v := p.entry.Load()
	return uint32(v) == p.token && r.side.other().handles(uint32(v>>32)) > 0
}

// sendable is peerGone for those who do not wait: it need not know who is there if nobody has been.
func (r *Raw) sendable() error {
	if r.opt.Keep || r.peerHere(r.peer.Load()) || r.opens(r.side.other()).Load() == 0 {
		return nil
	}
	return r.peerGone(nil)
}

// peerGone says why waiting for the other side is in vain, nil if it is not: somebody has it open, whose death
// ends the sleep of the call c, if there is one; or nobody ever had.
func (r *Raw) peerGone(c *wait.Call) error {
	p, err := r.findPeer()
	for p != nil && c != nil {
		c.Depend(r.members, p.token)
		if !r.members.Dead(p.token) {
			return nil
		}
		p, err = r.seekPeer() // the sentry may not have asked for a while
	}
	return err
}

// findPeer is the peer that is there, as far as is known, or why there is none.
func (r *Raw) findPeer() (*peer, error) {
	if p := r.peer.Load(); r.peerHere(p) {
		return p, nil
	}
	return r.seekPeer()
}

// seekPeer looks for somebody living who has the other side open.
func (r *Raw) seekPeer() (*peer, error) {
	r.peerMu.Lock()
	defer r.peerMu.Unlock()
	opens := r.opens(r.side.other()).Load()
	return r.peerAmong(opens, r.table.All())
}

// peerAmong is the peer that one of the entries names, or why there is none. peerMu is held.
func (r *Raw) peerAmong(opens uint32, entries []shares.Entry) (*peer, error) {
	other := r.side.other()
	died := r.lost(other).Load() == opens
	for _, e := range entries {
		if other.handles(e.Number) == 0 {
			continue
		}
		if !r.members.Dead(e.Token) {
			p := r.peer.Load()
			if p == nil || p.token != e.Token {
				p = &peer{token: e.Token, entry: r.entry(e.Token), sentry: r.members.Sentry(e.Token, nil)}
				r.setPeer(p)
			}
			return p, nil
		}
		died = died || other.handles(r.table.DiedWith(e.Token)) > 0
	}
	r.setPeer(nil)
	switch {
	case opens == 0:
		return nil, nil
	case died:
		return nil, errPeerDied
	}
	return nil, errPeerClosed
}

func (r *Raw) setPeer(p *peer) {
	if old := r.peer.Swap(p); old != nil {
		old.sentry.Close()
	}
}

// isEnd tells what Receive returns when the other side is gone from all other errors.
func isEnd(err error) bool { return err == io.EOF || errors.Is(err, errPeerDied) }
