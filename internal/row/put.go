package row

import (
	"context"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Putting with all that belongs to it: through an exclusive handle, by its Producer, and through shared
// handles, which take the lock for the shortest time and wait, where they must, without it.

// Put is the whole of putting one message, for the holder of an exclusive handle.
func (p *Producer) Put(ctx context.Context, b []byte) error {
	if p.PutNow(b) {
		return nil
	}
	return p.put(ctx, 0, b)
}

func (p *Producer) put(ctx context.Context, bits uint64, b []byte) error {
	for {
		err := p.add(bits, b)
		if err == nil {
			return p.Commit()
		}
		if err != errs.ErrFull {
			return err
		}
		if err := p.waitRoom(ctx, len(b)); err != nil {
			return err
		}
	}
}

// PutAll puts messages in order, as many as fit at a time, each such part as one commit, for the
// holder of an exclusive handle. It returns how many were put.
//
// After a part that fitted it waits for room at once, instead of trying again: as the row is full, the
// readers get ahead by then, and the next part is not a single record. A topic that overwrites has room
// again as soon as a part is committed, and waitRoom does not wait there.
func (p *Producer) PutAll(ctx context.Context, msgs [][]byte) (n int, err error) {
	if err := p.r.fitAll(msgs); err != nil {
		return 0, err
	}
	for n < len(msgs) {
		k, err := p.AddMany(msgs[n:])
		n += k
		if err == errs.ErrFull {
			err = p.waitRoom(ctx, len(msgs[n]))
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (r *Row) fitAll(msgs [][]byte) error {
	for _, m := range msgs {
		if err := r.Fits(len(m)); err != nil {
			return err
		}
	}
	return nil
}

// ReserveWait is Reserve, waiting for room.
func (p *Producer) ReserveWait(ctx context.Context, n int) ([]byte, error) {
	for {
		b, err := p.Reserve(n)
		if err != errs.ErrFull {
			return b, err
		}
		if err := p.waitRoom(ctx, n); err != nil {
			return nil, err
		}
	}
}

// WriteAll puts a stream of bytes in pieces, so that the other side can read the first while we
// write the next. It returns how many bytes were put.
func (p *Producer) WriteAll(ctx context.Context, b []byte) (n int, err error) {
	piece := int(min(p.r.size/4, streamPiece)) - 2*wordSize
	for n < len(b) {
		k := min(piece, len(b)-n)
		if err := p.Put(ctx, b[n:n+k]); err != nil {
			return n, err
		}
		n += k
	}
	return n, nil
}

// streamPiece is the longest record of a byte stream.
const streamPiece = 32 << 10

// drained is what Drain waits for.
type drained struct{ p *Producer }

func (d drained) Ready() bool { return d.p.r.freed.Load() == d.p.pos }

// Drain waits until everything that was put into a queue is taken.
func (p *Producer) Drain(ctx context.Context) error {
	for !(drained{p}).Ready() {
		if err := p.look(); err != nil {
			return err
		}
		if s := p.r.flags(); s&Removed != 0 {
			return errs.ErrRemoved
		} else if s&Deaf != 0 && !(drained{p}).Ready() {
			return errs.ErrPeerGone
		}
		if err := p.r.await(ctx, drained{p}, p); err != nil {
			return err
		}
	}
	return nil
}

// TryPut puts one message if there is room now; errs.ErrBusy when another process is putting.
func (r *Row) TryPut(b []byte) error { return r.tryPut(0, b) }

func (r *Row) tryPut(bits uint64, b []byte) error {
	if err := r.Fits(len(b)); err != nil {
		return err
	}
	if ok, _ := r.ProducerLock.TryLock(); !ok {
		return errs.ErrBusy
	}
	var p Producer
	return r.putUnlock(&p, bits, b)
}

// putUnlock and its like hold the lock that the caller took, and give it back also when the memory
// faults under them.
func (r *Row) putUnlock(p *Producer, bits uint64, b []byte) error {
	defer r.ProducerLock.Unlock()
	if err := p.resumeShared(r); err != nil {
		return err
	}
	if err := p.add(bits, b); err != nil {
		return err
	}
	return p.Commit()
}

// Put puts one message, waiting for room.
func (r *Row) Put(ctx context.Context, b []byte) error { return r.put(ctx, 0, b) }

func (r *Row) put(ctx context.Context, bits uint64, b []byte) error {
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
		err := r.putUnlock(&p, bits, b)
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
func (r *Row) waitShared(ctx context.Context, p Producer, n int) error {
	p.dry = r.putsDry.Swap(p.number)
	return p.waitRoom(ctx, n)
}

// PutMany is PutAll for shared handles.
func (r *Row) PutMany(ctx context.Context, msgs [][]byte) (n int, err error) {
	if err := r.fitAll(msgs); err != nil {
		return 0, err
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

func (r *Row) putManyUnlock(p *Producer, msgs [][]byte) (n int, err error) {
	defer r.ProducerLock.Unlock()
	if err := p.resumeShared(r); err != nil {
		return 0, err
	}
	return p.AddMany(msgs)
}
