package feed

import (
	"context"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// The operations of shared handles: each takes the lock for the shortest time and waits, where it must, without it.

// TryPublish publishes one message if there is room now.
func (f *Feed) TryPublish(b []byte) error {
	if err := f.Fits(len(b)); err != nil {
		return err
	}
	if ok, _ := f.Lock.TryLock(); !ok {
		return errs.ErrBusy
	}
	var p Publisher
	return f.publishUnlock(&p, b)
}

// publishUnlock and its like hold the lock that the caller took, and give it back also when the memory faults under
// them.
func (f *Feed) publishUnlock(p *Publisher, b []byte) error {
	defer f.Lock.Unlock()
	if err := p.Resume(f); err != nil {
		return err
	}
	if p.PublishNow(b) {
		return nil
	}
	if err := p.Add(b); err != nil {
		return err
	}
	return p.Commit()
}

// Publish publishes one message, waiting for room.
func (f *Feed) Publish(ctx context.Context, b []byte) error {
	if err := f.Fits(len(b)); err != nil {
		return err
	}
	for {
		if err := f.check(true); err != nil {
			return err
		}
		if _, err := f.Lock.Lock(ctx); err != nil {
			return err
		}
		var p Publisher
		err := f.publishUnlock(&p, b)
		if err != errs.ErrFull {
			return err
		}
		if err := f.waitShared(ctx, p, len(b)); err != nil {
			return err
		}
	}
}

// waitShared waits for room after the lock was given back. p is a copy: it goes to the heap, the caller's stays on the
// stack.
func (f *Feed) waitShared(ctx context.Context, p Publisher, n int) error {
	p.dry = f.pubDry.Swap(p.number)
	return p.waitRoom(ctx, n)
}

// PublishMany publishes messages in order, as many as fit at a time, each such part as one commit. It returns how many
// were published.
func (f *Feed) PublishMany(ctx context.Context, msgs [][]byte) (n int, err error) {
	for _, m := range msgs {
		if err := f.Fits(len(m)); err != nil {
			return 0, err
		}
	}
	for n < len(msgs) {
		if err := f.check(true); err != nil {
			return n, err
		}
		if _, err := f.Lock.Lock(ctx); err != nil {
			return n, err
		}
		var p Publisher
		k, err := f.publishManyUnlock(&p, msgs[n:])
		n += k
		if err == errs.ErrFull && k == 0 {
			err = f.waitShared(ctx, p, len(msgs[n]))
		}
		if err != nil && err != errs.ErrFull {
			return n, err
		}
	}
	return n, nil
}

func (f *Feed) publishManyUnlock(p *Publisher, msgs [][]byte) (n int, err error) {
	defer f.Lock.Unlock()
	if err := p.Resume(f); err != nil {
		return 0, err
	}
	return p.AddMany(msgs)
}
