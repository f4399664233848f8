package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
	"github.com/shiplap-ipc/shiplap/shared"
)

// locked is plain memory, and a mutex that everybody takes who touches it. n[0] is the number, n[1+who] how many
// additions of a process are in it: two stores, between which a process may die, and what the next one needs to mend it.
type locked struct {
	m     *lock.Mutex
	array *shared.Array[int64]
	n     []int64
	done  func()
}

func openLocked(d *shiplap.Domain) (counter, error) {
	m, err := lock.OpenOrCreateMutex(d, "mutex", nil)
	if err != nil {
		return nil, err
	}
	a, err := shared.OpenOrCreateArray[int64](d, "numbers", []int{1 + workers}, nil)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	n, done, err := a.Slice()
	if err != nil {
		return nil, errors.Join(err, a.Close(), m.Close())
	}
	return &locked{m, a, n, done}, nil
}

func (l *locked) lock(ctx context.Context, who string) error {
	err := l.m.Lock(ctx)
	if errors.Is(err, shiplap.ErrOwnerDied) { // the lock is ours all the same
		var sum int64
		for _, n := range l.n[1:] {
			sum += n
		}
		fmt.Fprintf(os.Stdout, "  %s gets the lock with ErrOwnerDied: the number is %+d off; repaired\n", who, l.n[0]-sum)
		l.n[0] = sum
		err = l.m.Repaired()
	}
	return err
}

func (l *locked) add(ctx context.Context, who int, pause func()) error {
	if err := l.lock(ctx, fmt.Sprint("process ", who+1)); err != nil {
		return err
	}
	l.n[0]++
	pause()
	l.n[1+who]++
	return l.m.Unlock()
}

func (l *locked) total(ctx context.Context) (int64, error) {
	if err := l.lock(ctx, "the parent"); err != nil { // if the others were done before the death
		return 0, err
	}
	n := l.n[0]
	return n, l.m.Unlock()
}

func (l *locked) Close() error {
	l.done()
	return errors.Join(l.array.Close(), l.m.Close())
}

// updated is the same in a value, which a process that dies leaves as it was, or as it is to be.
type updated struct{ *shared.Value[numbers] }

type numbers struct {
	Total int64
	By    [workers]int64
}

func openUpdated(d *shiplap.Domain) (counter, error) {
	v, err := shared.OpenOrCreateValue(d, "value", numbers{}, nil)
	return updated{v}, err
}

func (u updated) add(ctx context.Context, who int, pause func()) error {
	_, err := u.Update(ctx, func(n *numbers) error {
		n.Total++
		pause()
		n.By[who]++
		return nil
	})
	return err
}

func (u updated) total(context.Context) (int64, error) {
	n, err := u.Load()
	if err != nil {
		return 0, err
	}
	sum := int64(0)
	for _, k := range n.By {
		sum += k
	}
	if sum != n.Total {
		return 0, fmt.Errorf("half an addition: %+v", n)
	}
	return n.Total, nil
}

// word has no middle: the process dies just before.
type word struct{ *shared.Value[int64] }

func openWord(d *shiplap.Domain) (counter, error) {
	v, err := shared.OpenOrCreateValue[int64](d, "atomic", 0, nil)
	return word{v}, err
}

func (w word) add(_ context.Context, _ int, pause func()) error {
	pause()
	_, err := shared.Add(w.Value, 1)
	return err
}

func (w word) total(context.Context) (int64, error) { return w.Load() }
