package ring

import (
	"context"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// The operations of shared handles: each takes the lock of its side for the shortest time and waits,
// where it must, without it.

// TryPut puts one message if there is room now.
func (r *Ring) TryPut(b []byte) error {
	if err := r.Fits(len(b)); err != nil {
		return err
	}
	if ok, _ := r.ProducerLock.TryLock(); !ok {
		return errs.ErrBusy
	}
	var p Producer
	return r.putUnlock(&p, b)
}

// putUnlock and its likes hold the lock that the caller took, and give it back also when the memory
// faults under them.
func (r *Ring) putUnlock(p *Producer, b []byte) error {
	defer r.ProducerLock.Unlock()
	if err := p.resumeShared(r); err != nil {
		return err
	}
	if err := p.Add(b); err != nil {
		return err
	}
	return p.Commit()
}

// Put puts one message, waiting for room.
func (r *Ring) Put(ctx context.Context, b []byte) error {
	if err := r.Fits(len(b)); err != nil {
		return err
	}
	for {
		if err := r.check(true); err != nil {
			return err
		}
		if _, err := r.ProducerLock.Lock(ctx); err != nil {
			return err
		}
		var p Producer
		err := r.putUnlock(&p, b)
		if err != errs.ErrFull {
			return err
		}
		if err := r.waitShared(ctx, p, len(b)); err != nil {
			return err
		}
	}
}

// waitShared waits for room after the lock was given back. p is a copy: it goes to the heap, the
// caller's stays on the stack.
func (r *Ring) waitShared(ctx context.Context, p Producer, n int) error {
	p.dry = r.putsDry.Swap(p.puts)
	return p.waitRoom(ctx, n)
}

// PutMany puts messages in order, as many as fit at a time, each such part as one commit. It returns
// how many were put.
func (r *Ring) PutMany(ctx context.Context, msgs [][]byte) (n int, err error) {
	for _, m := range msgs {
		if err := r.Fits(len(m)); err != nil {
			return 0, err
		}
	}
	for n < len(msgs) {
		if err := r.check(true); err != nil {
			return n, err
		}
		if _, err := r.ProducerLock.Lock(ctx); err != nil {
			return n, err
		}
		var p Producer
		k, err := r.putManyUnlock(&p, msgs[n:])
		n += k
		if err == errs.ErrFull {
			err = r.waitShared(ctx, p, len(msgs[n]))
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (r *Ring) putManyUnlock(p *Producer, msgs [][]byte) (n int, err error) {
	defer r.ProducerLock.Unlock()
	if err := p.resumeShared(r); err != nil {
		return 0, err
	}
	return p.AddMany(msgs)
}

// AddMany adds what fits and commits it. errs.ErrFull says that n < len(msgs).
func (p *Producer) AddMany(msgs [][]byte) (n int, err error) {
	var full error
	for _, m := range msgs {
		if full = p.Add(m); full != nil {
			break
		}
		n++
	}
	if err := p.Commit(); err != nil {
		return 0, err
	}
	return n, full
}

// Empty reports, without the lock, that there is nothing to take at this moment.
func (r *Ring) Empty() bool {
	pos := r.taken.Load()
	return pos&7 == 0 && r.word(pos).LoadHint() == 0
}

// Get appends the next message to dst and takes it, waiting for one.
func (r *Ring) Get(ctx context.Context, dst []byte) ([]byte, error) {
	for {
		if r.Empty() {
			if err := r.Drained(r.taken.Load()); err != nil {
				return dst, err
			}
			if err := r.waitEmpty(ctx); err != nil {
				return dst, err
			}
		}
		if _, err := r.ConsumerLock.Lock(ctx); err != nil {
			return dst, err
		}
		msg, err := r.getUnlock(dst)
		if err != errs.ErrEmpty {
			return msg, err
		}
	}
}

func (r *Ring) getUnlock(dst []byte) ([]byte, error) {
	defer r.ConsumerLock.Unlock()
	if err := r.check(false); err != nil {
		return dst, err
	}
	var c Consumer
	if err := c.Resume(r); err != nil {
		return dst, err
	}
	return c.copyNext(dst)
}

// TryGet is Get without waiting: errs.ErrEmpty when there is nothing, errs.ErrBusy when another process is
// taking.
func (r *Ring) TryGet(dst []byte) ([]byte, error) {
	if err := r.nothing(); err != nil {
		return dst, err
	}
	if ok, _ := r.ConsumerLock.TryLock(); !ok {
		return dst, errs.ErrBusy
	}
	return r.getUnlock(dst)
}

// GetMany takes up to most messages that are there, at least one, waiting for the first. f is called
// with each payload in place, under the lock: it must be quick and must not keep the slice. An error
// of f ends the batch; the message that it refused counts as taken.
func (r *Ring) GetMany(ctx context.Context, most int, f func([]byte) error) (n int, err error) {
	for {
		if err = r.nothing(); err == nil {
			if _, err = r.ConsumerLock.Lock(ctx); err != nil {
				return 0, err
			}
			n, err = r.getManyUnlock(most, f)
		}
		if err != errs.ErrEmpty {
			return n, err
		}
		if err := r.waitEmpty(ctx); err != nil {
			return 0, err
		}
	}
}

// nothing says, without the lock, why there is nothing to take, nil if there may be something.
func (r *Ring) nothing() error {
	if !r.Empty() {
		return nil
	}
	if err := r.Drained(r.taken.Load()); err != nil {
		return err
	}
	return errs.ErrEmpty
}

func (r *Ring) getManyUnlock(most int, f func([]byte) error) (n int, err error) {
	defer r.ConsumerLock.Unlock()
	if err := r.check(false); err != nil {
		return 0, err
	}
	var c Consumer
	if err := c.Resume(r); err != nil {
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
type emptiness struct{ r *Ring }

func (e *emptiness) Ready() bool { return !e.r.Empty() || e.r.over() }

func (r *Ring) waitEmpty(ctx context.Context) error {
	gets := r.gets.Load()
	if burst(gets-r.getsDry.Swap(gets), &r.getSpin) && r.anyRecord.Ready() {
		return nil
	}
	return r.await(ctx, &r.anyRecord, &r.getSpin, false)
}
