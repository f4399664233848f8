package table

// place is where a key is, or would be, for the holder of the lock.
type place struct {
	hash   uint64
	bucket int    // offset of the bucket
	head   uint64 // its head
	slot   int    // offset of the slot that has the key; 0: none
	word   uint64 // what is in it
	e      entryHeader
	alive  bool

	free int // offset of a free slot; 0: none
	last int // offset of the head or link that names no overflow bucket
	hops int // overflow buckets before that

	over  int // offset of the first slot of the overflow bucket that has the key; 0: the bucket itself has it
	from  int // offset of the head or link that names it
	alone bool
}

// entry is the one that the slot names; nil if there is none.
func (p *place) entry() *entryHeader {
	if p.slot == 0 {
		return nil
	}
	return &p.e
}

// full reports whether the key has no slot, and none is free for it.
func (p *place) full() bool { return p.slot == 0 && p.free == 0 }

// find looks for a key with hash h.
func (s *stripe) find(key string, h uint64, now *int64) (p place, err error) {
	err = s.walk(h, &p, func(word uint64) (e entryHeader, ok bool, err error) {
		if word>>tagShift != h>>tagShift {
			return e, false, nil
		}
		if e, ok = s.entry(word); !ok {
			return e, false, corrupt("a slot points to granule %d, where no entry is", uint32(word))
		}
		return e, e.key == len(key) && s.span.EqualString(e.keyAt(), key), nil
	})
	if p.slot != 0 {
		p.alive = s.alive(&p.e, now)
	}
	return p, err
}

// findBlock looks for the slot that points to the entry at granule g.
func (s *stripe) findBlock(g uint32) (p place, ok bool, err error) {
	e, ok := s.entry(uint64(g))
	if !ok || e.key > MaxKey {
		return p, false, nil
	}
	key := make([]byte, e.key)
	s.span.LoadBytes(key, e.keyAt())
	err = s.walk(s.hash(string(key)), &p, func(word uint64) (entryHeader, bool, error) { return e, uint32(word) == g, nil })
	return p, p.slot != 0, err
}

// walk goes through the slots of a bucket until is says that a word is the one.
func (t *Table) walk(h uint64, p *place, is func(word uint64) (entryHeader, bool, error)) error {
	p.hash, p.bucket = h, t.bucket(h)
	p.head = t.span.U64(p.bucket).Load()
	s, from, link, over := t.mainSlots(p.bucket), p.bucket, p.head, 0
	for hops := 0; ; hops++ {
		used, here := 0, false
		for i := range s.n {
			at := s.at + 8*i
			word := t.span.U64(at).Load()
			if uint32(word) == 0 {
				if p.free == 0 {
					p.free = at
				}
				continue
			}
			used++
			if p.slot != 0 {
				continue
			}
			e, ok, err := is(word)
			if err != nil {
				return err
			}
			if ok {
				p.slot, p.word, p.e, p.over, p.from, here = at, word, e, over, from, true
			}
		}
		if here {
			p.alone = used == 1
			return nil
		}
		if over != 0 {
			from = s.linkAt()
		}
		if link>>32 == 0 {
			p.last, p.hops = from, hops
			return nil
		}
		if hops >= longest {
			return corrupt("a bucket has more than %d overflow buckets", longest)
		}
		var ok bool
		if s, ok = t.over(link); !ok {
			return corrupt("a bucket's overflow is at granule %d, where no bucket is", link>>32)
		}
		over = s.at
		link = t.span.U64(s.linkAt()).Load()
	}
}

// removal adds to a row that the entry at p goes: its slot becomes free, and an overflow bucket
// that has nothing else is taken out of the chain. The blocks get into the holder's hands, which
// are empty, or among the spare ones.
func (s *stripe) removal(r *row, p *place) {
	head := p.head
	r.add(p.slot, 0)
	unlinked := uint64(0)
	if p.over != 0 && p.alone {
		next := s.span.U64(slots{at: p.over}.linkAt()).Load() >> 32 << 32
		if p.from == p.bucket {
			head = next | uint64(uint32(head))
		} else {
			r.add(p.from, next)
		}
		unlinked = uint64((p.over - 16) / Granule)
	}
	r.add(p.bucket, step(head))
	s.count(r, &p.e, nil, unlinked != 0, false)
	if at := s.spareAt(p.e.size); p.e.size <= maxSpare && !s.evicting && s.span.U64(at).Load() == 0 {
		r.add(at, uint64(p.e.at/Granule))
	} else {
		r.add(s.base+offPending, uint64(p.e.at/Granule))
	}
	if unlinked != 0 {
		r.add(s.base+offPending+8, unlinked)
	}
}

// step raises the sequence number in a bucket's head.
func step(head uint64) uint64 { return head>>32<<32 | uint64(uint32(head)+1) }

// announce adds to a row that a bucket changes, as one revision.
func (s *stripe) announce(r *row, bucket int) (rev uint64) {
	rev = s.revision.Load() + 1
	r.add(s.logAt(rev), rev<<32|s.number(bucket))
	r.add(s.base+offRevision, rev)
	return rev
}

// logged is how many entries the change log of a stripe has.
func (t *Table) logged() uint64 { return t.geo.Log / t.geo.Stripes }

func (s *stripe) logAt(rev uint64) int {
	n := s.logged()
	return int(s.geo.logAt()) + 8*int(uint64(s.i)*n+rev&(n-1))
}

// all stands in the change log for every bucket of the stripe.
const all = 1<<32 - 1

// count adds to a row how the counters change when old goes and new comes.
func (s *stripe) count(r *row, old, new *entryHeader, overflowGoes, overflowComes bool) {
	c, x := s.counts.Load(), s.extras.Load()
	live, cleared, expiring, over := uint32(c), uint32(c>>32), uint32(x), uint32(x>>32)
	if old != nil {
		if old.rev > s.dead() {
			live--
		} else {
			cleared--
		}
		if old.expires != 0 {
			expiring--
		}
	}
	if new != nil {
		live++
		if new.expires != 0 {
			expiring++
		}
	}
	if overflowGoes {
		over--
	}
	if overflowComes {
		over++
	}
	if v := uint64(live) | uint64(cleared)<<32; v != c {
		r.add(s.base+offCounts, v)
	}
	if v := uint64(expiring) | uint64(over)<<32; v != x {
		r.add(s.base+offExtras, v)
	}
}

// remove deletes the entry at p, and frees what it took. With an error nothing was deleted.
func (s *stripe) remove(p *place) (rev uint64, err error) {
	if err := s.emptyHands(); err != nil {
		return 0, err
	}
	r := s.begin()
	s.removal(r, p)
	rev = s.announce(r, p.bucket)
	r.commit()
	_ = s.emptyHands() // the change has happened; what could not be freed is freed before the next one
	return rev, nil
}

// dead is the revision up to which the stripe's entries count for nothing.
func (s *stripe) dead() uint64 { return s.cleared(s.i, s.epoch.Load()) }

func (s *stripe) alive(e *entryHeader, now *int64) bool { return s.aliveAfter(e, s.dead(), now) }
