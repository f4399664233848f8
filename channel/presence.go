package channel

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/holders"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Who has a side open stands in the holder table: that is the truth. A side is gone if it was opened
// at least once and no living process has it open. An entry of the dead says that it died with the side open; whoever
// opens the side next takes it away. Who needs the entry for himself, to open the other side, notes the death elsewhere.

var (
	errPeerClosed = fmt.Errorf("%w: all who had the other side open closed it", errs.ErrPeerGone)
	errPeerDied   = fmt.Errorf("%w: a process died that had the other side open", errs.ErrPeerGone)
)

// peer is a process that has the other side open. As long as it is known to be there, nobody looks for others.
type peer struct {
	token uint32
	entry *mem.U64
	dead  atomic.Bool // the kernel says that it may be
	told  bool        // the kernel will say so
	stop  func()
}

// join counts one handle more of this process on a side. Others see it before they are woken, and are woken before
// the side counts as opened: so whoever learns that it was watches us already, or finds us dead.
func (r *Raw) join(s side) error {
	self := r.members.Self()
	for _, e := range r.table.All() {
		if e.Token == self || !r.members.Dead(e.Token) {
			continue
		}
		if other := s.other(); e.Token%holders.Slots == self%holders.Slots && other.handles(e.Number) > 0 {
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
	return r.obj.Region.Span(spanTable).U64(int(token%holders.Slots) * entrySize)
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
func (r *Raw) peerHere() bool {
	p := r.peer.Load()
	if p == nil || !p.told || p.dead.Load() {
		return false
	}
	v := p.entry.Load()
	return uint32(v) == p.token && r.side.other().handles(uint32(v>>32)) > 0
}

// sendable is peerGone for those who do not wait: it need not know who is there if nobody has been.
func (r *Raw) sendable() error {
	if r.opt.Keep || r.peerHere() || r.opens(r.side.other()).Load() == 0 {
		return nil
	}
	return r.peerGone()
}

// peerGone says why waiting for the other side is in vain, nil if it is not: somebody has it open, whose death
// interrupts waits from now on, or nobody ever had.
func (r *Raw) peerGone() error {
	if r.peerHere() {
		return nil
	}
	r.peerMu.Lock()
	defer r.peerMu.Unlock()
	if r.peerHere() {
		return nil
	}
	other := r.side.other()
	opens := r.opens(other).Load()
	died := r.lost(other).Load() == opens
	for _, e := range r.table.All() {
		if other.handles(e.Number) == 0 {
			continue
		}
		if !r.members.Dead(e.Token) {
			p := r.watch(e.Token)
			if p.told || !r.members.Dead(e.Token) {
				r.setPeer(p)
				if !p.told {
					r.in.Blind()
					r.out.Blind()
				}
				return nil
			}
		}
		died = true
	}
	r.setPeer(nil)
	switch {
	case opens == 0:
		return nil
	case died:
		return errPeerDied
	}
	return errPeerClosed
}

// watch has the death of a process told, also if it is dead by now. Where that cannot be, waits look now and then.
func (r *Raw) watch(token uint32) *peer {
	p := &peer{token: token, entry: r.entry(token), told: true, stop: func() {}}
	if token == r.members.Self() {
		return p
	}
	stop, ok := r.members.Watch(token, func() {
		p.dead.Store(true)
		r.obj.Sess.Nudge()
	})
	if ok {
		p.stop = stop
		return p
	}
	p.told = false
	return p
}

func (r *Raw) setPeer(p *peer) {
	if old := r.peer.Swap(p); old != nil {
		old.stop()
	}
}

// isEnd tells what Receive returns when the other side is gone from all other errors.
func isEnd(err error) bool { return err == io.EOF || errors.Is(err, errPeerDied) }
