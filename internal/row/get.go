package row

import (
	"context"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Taking through shared handles: each call takes the consumer lock for the shortest time and waits, where it must,
// without it.

// Empty reports, without the lock, that there is nothing to take at this moment.
func (q *Queue) Empty() bool {
	pos := q.taken.Load()
	return pos&7 == 0 && q.word(pos).LoadHint() == 0
}

// Get appends the next message to dst and takes it, waiting for one.
func (q *Queue) Get(ctx context.Context, dst []byte) ([]byte, error) { return q.GetWith(ctx, dst, nil) }

// GetWith is Get; *block becomes a copy of the message's envelope, empty if it has none. block may be nil.
func (q *Queue) GetWith(ctx context.Context, dst []byte, block *[]byte) ([]byte, error) {
	for {
		if q.Empty() {
			if err := q.Drained(q.taken.Load()); err != nil {
				return dst, err
			}
			if err := q.waitEmpty(ctx); err != nil {
				return dst, err
			}
		}
		if _, err := q.ConsumerLock.Lock(ctx); err != nil {
			return dst, err
		}
		msg, err := q.getUnlock(dst, block)
		if err != errs.ErrEmpty {
			return msg, err
		}
	}
}

func (q *Queue) getUnlock(dst []byte, block *[]byte) ([]byte, error) {
	defer q.ConsumerLock.Unlock()
	if err := q.check(false); err != nil {
		return dst, err
	}
	var c Consumer
	if err := c.Resume(q); err != nil {
		return dst, err
	}
	return c.copyNext(dst, block)
}

// TryGet is Get without waiting: errs.ErrEmpty when there is nothing, errs.ErrBusy when another process is
// taking.
func (q *Queue) TryGet(dst []byte) ([]byte, error) { return q.TryGetWith(dst, nil) }

// TryGetWith is TryGet; *block becomes a copy of the message's envelope, empty if it has none. block may be
// nil.
func (q *Queue) TryGetWith(dst []byte, block *[]byte) ([]byte, error) {
	if err := q.nothing(); err != nil {
		return dst, err
	}
	if ok, _ := q.ConsumerLock.TryLock(); !ok {
		return dst, errs.ErrBusy
	}
	return q.getUnlock(dst, block)
}

// GetMany takes up to most messages that are there, at least one, waiting for the first. f is called
// with each body in place, under the lock: it must be quick and must not keep the slice. An error
// of f ends the batch; the message that it refused counts as taken.
func (q *Queue) GetMany(ctx context.Context, most int, f func([]byte) error) (n int, err error) {
	for {
		if err = q.nothing(); err == nil {
			if _, err = q.ConsumerLock.Lock(ctx); err != nil {
				return 0, err
			}
			n, err = q.getManyUnlock(most, f)
		}
		if err != errs.ErrEmpty {
			return n, err
		}
		if err := q.waitEmpty(ctx); err != nil {
			return 0, err
		}
	}
}

// nothing says, without the lock, why there is nothing to take, nil if there may be something.
func (q *Queue) nothing() error {
	if !q.Empty() {
		return nil
	}
	if err := q.Drained(q.taken.Load()); err != nil {
		return err
	}
	return errs.ErrEmpty
}

func (q *Queue) getManyUnlock(most int, f func([]byte) error) (n int, err error) {
	defer q.ConsumerLock.Unlock()
	if err := q.check(false); err != nil {
		return 0, err
	}
	var c Consumer
	if err := c.Resume(q); err != nil {
		return 0, err
	}
	return c.TakeMany(most, f)
}

// TakeMany takes up to most messages that are there now, for the holder of the lock; errs.ErrEmpty when
// there is none. What f saw is taken, however it ends.
func (c *Consumer) TakeMany(most int, f func([]byte) error) (n int, err error) {
	defer c.Commit()
	for n < most {
		b, err := c.Next()
		if err == errs.ErrEmpty && n > 0 {
			break
		}
		if err != nil {
			return n, err
		}
		n++
		if err := f(b); err != nil {
			return n - 1, err
		}
	}
	return n, nil
}

// emptiness is what a consumer without the lock waits for.
type emptiness struct{ q *Queue }

func (e *emptiness) Ready() bool { return !e.q.Empty() || e.q.over() }

func (q *Queue) waitEmpty(ctx context.Context) error {
	gets := q.gets.Load()
	if burst(gets-q.getsDry.Swap(gets), &q.getSpin) && q.anyRecord.Ready() {
		return nil
	}
	return q.await(ctx, &q.anyRecord, nil)
}
