package table

import "context"

// What has expired, or was cleared, counts for nothing at once; its memory comes back when a hand, which goes around all
// buckets, comes by. Each change moves the hand by a little. A change that finds no room moves it on, in pieces
// of a millisecond or so, until there is room or it has gone around.

const (
	stepBuckets  = 4 // looked at by each change, if there may be something
	stepEntries  = 4 // reclaimed by each change, at most
	pieceBuckets = 512
	pieceEntries = 512
)

// soon remembers that an entry will expire, before it exists.
func (s *stripe) soon(expires uint64) {
	for _, off := range [...]int{offNext, offLap} {
		w := s.word(off)
		if v := w.Load(); v == 0 || expires < v {
			w.StoreOrdered(expires)
		}
	}
}

// due reports whether there may be something to reclaim.
func (s *stripe) due(now *int64) bool {
	if s.counts.Load()>>32 != 0 {
		return true
	}
	if uint32(s.extras.Load()) == 0 {
		return false
	}
	if *now == 0 {
		*now = s.now()
	}
	return uint64(*now) >= s.word(offNext).Load()
}

// tidy is what each change does for the next ones.
func (s *stripe) tidy(now *int64) {
	if s.due(now) {
		s.sweep(stepBuckets, stepEntries, now) // its errors are the business of those who need the room
	}
}

// sweep moves the hand over some buckets.
func (s *stripe) sweep(buckets, entries int, now *int64) (seen, reclaimed int, err error) {
	if *now == 0 {
		*now = s.now()
	}
	hand := s.word(offHand)
	for seen < buckets && reclaimed < entries {
		i := hand.Load()
		if i >= s.own() {
			i = 0
		}
		lap := s.word(offLap)
		if i == 0 {
			lap.StoreOrdered(1<<64 - 1)
		}
		n, soonest, more, err := s.sweepBucket(s.first()+int(i)*bucketSize, entries-reclaimed, now)
		reclaimed += n
		if err != nil {
			return seen, reclaimed, err
		}
		if soonest < lap.Load() {
			lap.StoreOrdered(soonest)
		}
		if more {
			break // the rest of this bucket the next time
		}
		seen++
		if i++; i == s.own() {
			s.word(offNext).StoreOrdered(lap.Load())
			i = 0
		}
		hand.StoreOrdered(i)
	}
	return seen, reclaimed, nil
}

// sweepBucket reclaims up to most entries of a bucket. soonest is when the first of the others expires.
func (s *stripe) sweepBucket(bucket, most int, now *int64) (n int, soonest uint64, more bool, err error) {
	cleared := s.counts.Load()>>32 != 0
again:
	soonest = 1<<64 - 1
	part, link := s.mainSlots(bucket), s.span.U64(bucket).Load()
	for hops := 0; ; hops++ {
		for i := range part.n {
			word := s.span.U64(part.at + 8*i).Load()
			if uint32(word) == 0 || word&slotExpires == 0 && !cleared {
				continue
			}
			e, ok := s.entry(word)
			if !ok {
				return n, soonest, false, corrupt("a slot points to granule %d, where no entry is", uint32(word))
			}
			if s.alive(&e, now) {
				if e.expires != 0 {
					soonest = min(soonest, e.expires)
				}
				continue
			}
			if n == most {
				return n, soonest, true, nil
			}
			p, ok, err := s.findBlock(uint32(word))
			if err != nil {
				return n, soonest, false, err
			}
			if !ok || p.bucket != bucket {
				return n, soonest, false, corrupt("the key of the entry at granule %d belongs into another bucket", uint32(word))
			}
			expired := s.expired(&e, now)
			if _, err := s.remove(&p); err != nil {
				return n, soonest, false, err
			}
			if expired {
				s.bump(offExpired)
			}
			n++
			goto again // an overflow bucket may have gone with it
		}
		if link>>32 == 0 {
			return n, soonest, false, nil
		}
		var ok bool
		if part, ok = s.over(link); !ok || hops > longest {
			return n, soonest, false, corrupt("a bucket's overflow is at granule %d, where no bucket is", link>>32)
		}
		link = s.span.U64(part.linkAt()).Load()
	}
}

// own is how many buckets the stripe has, and first the offset of the first.
func (t *Table) own() uint64 { return t.geo.Buckets / t.geo.Stripes }
func (s *stripe) first() int { return s.buckets + s.i*int(s.own())*bucketSize }

// Reclaim goes once around and reclaims all that has expired or was cleared, in pieces between which others get
// the lock. It returns how many entries there were.
func (t *Table) Reclaim(ctx context.Context) (n int, err error) {
	for i := range t.stripes {
		m, err := t.stripes[i].reclaim(ctx)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (s *stripe) reclaim(ctx context.Context) (n int, err error) {
	err = s.flushLocked(ctx)
	for seen := 0; err == nil && uint64(seen) < s.own(); {
		k, m, err := s.reclaimPiece(ctx)
		n += m
		if err != nil {
			return n, err
		}
		if seen += k; k+m == 0 {
			break
		}
		if ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
	}
	if err == nil && n > 0 {
		err = s.flushLocked(ctx)
	}
	return n, err
}

func (s *stripe) flushLocked(ctx context.Context) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.unlock()
	_, err := s.flush()
	return err
}

func (s *stripe) reclaimPiece(ctx context.Context) (seen, n int, err error) {
	if err := s.acquire(ctx); err != nil {
		return 0, 0, err
	}
	defer s.unlock()
	if uint32(s.extras.Load()) == 0 && s.counts.Load()>>32 == 0 {
		return 0, 0, nil
	}
	var now int64
	return s.sweep(pieceBuckets, pieceEntries, &now)
}
