package row

import (
	"context"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// Consumer is the taking side of a queue without acknowledgement while its lock is held. Not for
// concurrent use.
type Consumer struct {
	q    *Queue
	pos  uint64 // taken
	next uint64 // end of what was looked at, pos when nothing was
	gets uint64
	n    uint64 // records between pos and next
	off  uint64 // bytes of the record at pos that were read as a stream
	dry  uint64 // gets when the queue last ran dry
}

// Resume learns what was taken. It must be called after the lock was taken, whoever had it before
// and however that ended.
func (c *Consumer) Resume(q *Queue) error {
	*c = Consumer{q: q, pos: q.taken.Load(), gets: q.gets.Load()}
	c.next = c.pos
	if c.pos&7 != 0 {
		return q.span(c.pos, c.pos)
	}
	if part := q.partial.Load(); uint32(part>>32) == uint32(c.pos/wordSize) {
		c.off = part & (1<<32 - 1)
	}
	if h := q.word(c.pos).Load(); h != 0 {
		c.gets = extend(c.gets+1, h) - 1
	}
	return nil
}

// Next is the body of the next record, in place (on the heap perhaps a copy); errs.ErrEmpty when there
// is none. It stays valid until Commit.
func (c *Consumer) Next() ([]byte, error) {
	b, _, err := c.look()
	return b, err
}

// look is Next, and says where the record's parts are.
func (c *Consumer) look() ([]byte, parts, error) {
	h := c.q.word(c.next).Load()
	if h == 0 {
		return nil, parts{}, errs.ErrEmpty
	}
	size, err := c.q.parse(h)
	if err != nil {
		return nil, parts{}, err
	}
	if c.next+size-c.pos > c.q.size {
		return nil, parts{}, errs.ErrCorrupt
	}
	rec := parts{body: uint32(h)}
	if h&hasEnvelope != 0 {
		if rec, err = c.q.split(c.next, h); err != nil {
			return nil, parts{}, err
		}
	}
	b := c.q.body(c.next, rec)
	if c.off > 0 && c.n == 0 {
		b = b[min(c.off, uint64(len(b))):]
	}
	c.next += size
	c.n++
	return b, rec, nil
}

// Read reads what is there as a stream of bytes, regardless of records; errs.ErrEmpty when there is
// nothing. What it returned is taken, to the byte.
func (c *Consumer) Read(p []byte) (n int, err error) {
	for n < len(p) {
		b, err := c.Next()
		if err == errs.ErrEmpty && n > 0 {
			break
		}
		if err != nil {
			return n, err
		}
		k := copy(p[n:], b)
		n += k
		if k == len(b) {
			c.Commit()
			continue
		}
		c.Back()
		c.off += uint64(k)
		c.q.partial.StoreRelease(uint64(uint32(c.pos/wordSize))<<32 | c.off) // the commit point
	}
	return n, nil
}

// Back forgets what Next gave since the last Commit.
func (c *Consumer) Back() { c.next, c.n = c.pos, 0 }

// Commit takes what Next gave since the last Commit, all of it at once, and wakes producers.
func (c *Consumer) Commit() {
	q := c.q
	if c.n == 0 {
		return
	}
	q.taken.StoreRelease(c.next) // the commit point
	c.pos, c.off = c.next, 0
	c.gets += c.n
	q.gets.StoreRelease(c.gets)
	c.n = 0
	q.notFull.WakeAll() // who needs most room may be the only one who still has not enough
}

// Ready reports whether a sleeping Wait should look again.
func (c *Consumer) Ready() bool { return c.q.word(c.next).Load() != 0 || c.q.over() }

// Wait waits until there may be a record.
func (c *Consumer) Wait(ctx context.Context) error {
	if err := c.q.Drained(c.next); err != nil {
		return err
	}
	if burst(c.gets-c.dry, &c.q.getSpin) && c.Ready() {
		c.dry = c.gets
		return nil
	}
	c.dry = c.gets
	return c.q.await(ctx, c, nil)
}

// GetNow is Next and Commit of one message in one piece, for the frequent case: there is one, and
// nothing is out of the ordinary. Otherwise it does nothing and returns false.
func (c *Consumer) GetNow(dst []byte) ([]byte, bool) {
	q := c.q
	h := q.area.Word(c.pos).Load()
	n := payloadLen(h)
	if !isPlain(h) || n > q.accept || c.next != c.pos || c.off != 0 || q.owner.Load() != 0 {
		return dst, false
	}
	b := q.area.Slice(c.pos+q.head, int(n))
	if b == nil {
		return dst, false
	}
	dst = append(dst, b...)
	c.pos += q.head + pad(n)
	q.taken.StoreRelease(c.pos) // the commit point
	c.next = c.pos
	c.gets++
	q.gets.StoreRelease(c.gets)
	q.notFull.WakeAll()
	return dst, true
}

// Get appends the next message to dst and takes it, for the holder of an exclusive handle.
func (c *Consumer) Get(ctx context.Context, dst []byte) ([]byte, error) {
	if dst, ok := c.GetNow(dst); ok {
		return dst, nil
	}
	return c.get(ctx, dst, nil)
}

// GetWith is Get, and sets *block to a copy of the message's envelope, empty if it has none.
func (c *Consumer) GetWith(ctx context.Context, dst []byte, block *[]byte) ([]byte, error) {
	*block = nil
	if dst, ok := c.GetNow(dst); ok {
		return dst, nil
	}
	return c.get(ctx, dst, block)
}

func (c *Consumer) get(ctx context.Context, dst []byte, block *[]byte) ([]byte, error) {
	if c.gets-c.dry < burstLeast && c.q.getSpin.Useful() && wait.Glance(c.q.area.Word(c.pos)) {
		c.dry = c.gets
		if dst, ok := c.GetNow(dst); ok {
			return dst, nil
		}
	}
	for {
		msg, err := c.copyNext(dst, block)
		if err != errs.ErrEmpty {
			return msg, err
		}
		if err := c.Wait(ctx); err != nil {
			return dst, err
		}
	}
}

// TryGet is Get without waiting; errs.ErrEmpty when there is nothing now.
func (c *Consumer) TryGet(dst []byte) ([]byte, error) { return c.TryGetWith(dst, nil) }

// TryGetWith is TryGet; *block becomes a copy of the message's envelope, empty if it has none. block may be
// nil.
func (c *Consumer) TryGetWith(dst []byte, block *[]byte) ([]byte, error) {
	msg, err := c.copyNext(dst, block)
	if err == errs.ErrEmpty {
		if err := c.q.Drained(c.next); err != nil {
			return dst, err
		}
	}
	return msg, err
}

// copyNext appends the next message to dst and takes it, if it is not longer than this side accepts. *block
// becomes a copy of its envelope, if somebody asks for that.
func (c *Consumer) copyNext(dst []byte, block *[]byte) ([]byte, error) {
	b, rec, err := c.look()
	if err != nil {
		return dst, err
	}
	if err := c.q.accepts(uint64(len(b)) + uint64(rec.block)); err != nil {
		c.Back()
		return dst, err
	}
	dst = append(dst, b...)
	if block != nil {
		c.q.copyBlock(block, c.pos, rec)
	}
	c.Commit()
	return dst, nil
}

// Peek is Next, waiting for a record.
func (c *Consumer) Peek(ctx context.Context) ([]byte, error) {
	for {
		b, err := c.Next()
		if err != errs.ErrEmpty {
			return b, err
		}
		if err := c.Wait(ctx); err != nil {
			return nil, err
		}
	}
}

// ReadWait is Read, waiting for at least one byte.
func (c *Consumer) ReadWait(ctx context.Context, p []byte) (n int, err error) {
	for {
		n, err = c.Read(p)
		if n > 0 || err != nil && err != errs.ErrEmpty || len(p) == 0 {
			return n, err
		}
		if err == nil {
			continue // empty records
		}
		if err := c.Wait(ctx); err != nil {
			return 0, err
		}
	}
}
