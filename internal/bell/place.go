package bell

import "github.com/shiplap-ipc/shiplap/internal/mem"

// A place is the goroutines of this process that sleep on one event, in the order in which they
// came. The shared entry knows only how many they are, so a place keeps this balance, under the
// bell's mutex:
//
//	goroutines in the list + balance = sleepers in the entry + rings under way
//
// A goroutine that is just adding its sleeper to the entry, or taking it off, is *unsure*: it is
// not in the list, its sleeper may be in the entry or not, and a ring that arrives meanwhile may be
// for it.
//
//	event                                what happens
//	begins to arm                        unsure + 1
//	has added a sleeper                  unsure – 1, into the list, settle
//	there was no room                    unsure – 1, settle
//	a ring for k arrives                 balance – k, settle
//	begins to leave                      out of the list, unsure + 1
//	took its sleeper off                 unsure – 1, settle
//	a waker has taken its sleeper        unsure – 1, balance + 1, settle: the ring that is under way is for nobody
//	settle                               as long as more rings have come than the unsure can account for: the first goroutine
//	                                     is rung, balance + 1; for the rest, the first ones look without being rung
//
// A positive balance is rings that will wake nobody. If a waker died before it wrote its ring, that
// never comes, so the lookout sets a balance that stays positive for longer than a round back to 0.
type place struct {
	word        *mem.U32
	ticket      uint32
	first, last *Sleeper
	balance     int
	unsure      int
	owingSince  uint32 // the lookout's round in which the balance became positive
}

func (p *place) push(s *Sleeper) {
	s.listed, s.rung = true, false
	s.prev, s.next = p.last, nil
	if p.last != nil {
		p.last.next = s
	} else {
		p.first = s
	}
	p.last = s
}

func (p *place) remove(s *Sleeper) {
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		p.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		p.last = s.prev
	}
	s.listed, s.prev, s.next = false, nil, nil
}

func (p *place) unused() bool { return p.first == nil && p.unsure == 0 }

// placeOf finds or makes the place of a line, for a goroutine that begins to arm. b.mu is held.
func (b *Bell) placeOf(l *Line) *place {
	p := b.places[l.word]
	if p == nil {
		p = &place{word: l.word, ticket: b.newTicket()}
		b.places[l.word], b.tickets[p.ticket] = p, p
	}
	p.unsure++
	b.armed++
	return p
}

// newTicket is one that no place has. They are not used again soon, so that a late ring finds nobody.
func (b *Bell) newTicket() uint32 {
	for {
		b.ticket = (b.ticket + 1) & ticketMask
		if b.ticket != 0 && b.tickets[b.ticket] == nil {
			return b.ticket
		}
	}
}

// settle wakes those for whom rings have arrived, and drops the place when it is not used. b.mu is
// held.
func (b *Bell) settle(p *place) {
	for p.balance < -p.unsure && p.first != nil {
		p.balance++
		s := p.first
		p.remove(s)
		b.armed--
		s.rung = true
		b.resume(s)
	}
	p.balance = max(p.balance, -p.unsure)
	for s, n := p.first, p.balance; s != nil && n < 0; s, n = s.next, n+1 {
		b.resume(s)
	}
	if p.balance <= 0 {
		delete(b.owing, p)
	} else if _, ok := b.owing[p]; !ok {
		p.owingSince = b.round
		b.owing[p] = struct{}{}
	}
	if p.unused() {
		if p.balance > 0 {
			b.retire(p)
		}
		delete(b.owing, p)
		if b.places[p.word] == p { // not so after replace
			delete(b.places, p.word)
		}
		delete(b.tickets, p.ticket)
	}
}

// retire remembers for a while that rings for nobody are under way.
func (b *Bell) retire(p *place) {
	if len(b.retired) >= mostRetired {
		clear(b.retired)
	}
	b.retired[p.ticket] = p.balance
}

const mostRetired = 1024

// rings is told of a ring for k goroutines. known is false if nobody of that ticket is here. b.mu
// is held.
func (b *Bell) rings(ticket uint32, k int) (known bool) {
	if p := b.tickets[ticket]; p != nil {
		p.balance -= k
		b.settle(p)
		return true
	}
	n, known := b.retired[ticket]
	if known {
		if n -= k; n > 0 {
			b.retired[ticket] = n
		} else {
			delete(b.retired, ticket)
		}
	}
	return known
}
