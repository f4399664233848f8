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
func (t *Table) soon(expires uint64) {
	for _, off := range [...]int{offNext, offLap} {
		w := t.span.U64(off)
		if v := w.Load(); v == 0 || expires < v {
			w.StoreOrdered(expires)
		}
	}
}

// due reports whether there may be something to reclaim.
func (t *Table) due(now *int64) bool {
	if t.counts.Load()>>32 != 0 {
		return true
	}
	if uint32(t.extras.Load()) == 0 {
		return false
	}
	if *now == 0 {
		*now = t.now()
	}
	return uint64(*now) >= t.span.U64(offNext).Load()
}

// tidy is what each change does for the next ones.
func (t *Table) tidy(now *int64) {
	if t.due(now) {
		t.sweep(stepBuckets, stepEntries, now) // its errors are the business of those who need the room
	}
}

// sweep moves the hand over some buckets.
func (t *Table) sweep(buckets, entries int, now *int64) (seen, reclaimed int, err error) {
	if *now == 0 {
		*now = t.now()
	}
	hand := t.span.U64(offHand)
	for seen < buckets && reclaimed < entries {
		i := hand.Load()
		if i >= t.geo.Buckets {
			i = 0
		}
		lap := t.span.U64(offLap)
		if i == 0 {
			lap.StoreOrdered(1<<64 - 1)
		}
		n, soonest, more, err := t.sweepBucket(t.buckets+int(i)*bucketSize, entries-reclaimed, now)
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
		if i++; i == t.geo.Buckets {
			t.span.U64(offNext).StoreOrdered(lap.Load())
			i = 0
		}
		hand.StoreOrdered(i)
	}
	return seen, reclaimed, nil
}

// sweepBucket reclaims up to most entries of a bucket. soonest is when the first of the others expires.
func (t *Table) sweepBucket(bucket, most int, now *int64) (n int, soonest uint64, more bool, err error) {
	cleared := t.counts.Load()>>32 != 0
again:
	soonest = 1<<64 - 1
	s, link := t.mainSlots(bucket), t.span.U64(bucket).Load()
	for hops := 0; ; hops++ {
		for i := range s.n {
			word := t.span.U64(s.at + 8*i).Load()
			if uint32(word) == 0 || word&slotExpires == 0 && !cleared {
				continue
			}
			e, ok := t.entry(word)
			if !ok {
				return n, soonest, false, corrupt("a slot points to granule %d, where no entry is", uint32(word))
			}
			if t.alive(&e, now) {
				if e.expires != 0 {
					soonest = min(soonest, e.expires)
				}
				continue
			}
			if n == most {
				return n, soonest, true, nil
			}
			p, ok, err := t.findBlock(uint32(word))
			if err != nil {
				return n, soonest, false, err
			}
			if !ok || p.bucket != bucket {
				return n, soonest, false, corrupt("the key of the entry at granule %d belongs into another bucket", uint32(word))
			}
			if t.expired(&e, now) {
				t.bump(offExpired)
			}
			t.remove(&p)
			if err := t.inOrder(); err != nil {
				return n, soonest, false, err
			}
			n++
			goto again // an overflow bucket may have gone with it
		}
		if link>>32 == 0 {
			return n, soonest, false, nil
		}
		var ok bool
		if s, ok = t.over(link); !ok || hops > longest {
			return n, soonest, false, corrupt("a bucket's overflow is at granule %d, where no bucket is", link>>32)
		}
		link = t.span.U64(s.linkAt()).Load()
	}
}

// inOrder says that blocks could not be freed: more must not be taken into the hand.
func (t *Table) inOrder() error {
	if t.pending[0].Load()|t.pending[1].Load() != 0 {
		return t.settlePending()
	}
	return nil
}

// Reclaim goes once around and reclaims all that has expired or was cleared, in pieces between which others get
// the lock. It returns how many entries there were.
func (t *Table) Reclaim(ctx context.Context) (n int, err error) {
	err = t.flushLocked(ctx)
	for seen := 0; err == nil && uint64(seen) < t.geo.Buckets; {
		k, m, err := t.reclaimPiece(ctx)
		n += m
		if m > 0 {
			t.event.WakeAll()
		}
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
		err = t.flushLocked(ctx)
	}
	return n, err
}

func (t *Table) flushLocked(ctx context.Context) error {
	if err := t.acquire(ctx); err != nil {
		return err
	}
	defer t.lock.Unlock()
	_, err := t.flush()
	return err
}

func (t *Table) reclaimPiece(ctx context.Context) (seen, n int, err error) {
	if err := t.acquire(ctx); err != nil {
		return 0, 0, err
	}
	defer t.lock.Unlock()
	if uint32(t.extras.Load()) == 0 && t.counts.Load()>>32 == 0 {
		return 0, 0, nil
	}
	var now int64
	return t.sweep(pieceBuckets, pieceEntries, &now)
}
