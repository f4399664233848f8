package racetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
)

// In this scene a process dies while it removes objects that others have open. Each object is
// removed then or it is not: an old handle and a new object of that name must not both be good.
func init() {
	scenes = append(scenes, Scene{Name: "removal", run: runRemoval, play: playRemoval})
}

const (
	removals = 60
	removers = 3
)

// removable is a lock that is removed while it is open. Each has another fast path.
type removable struct {
	io.Closer
	take func(ctx context.Context) error
	give func() error
}

// openRemovable opens or makes a lock: which kind follows from its number.
func openRemovable(d *shiplap.Domain, i int) (removable, error) {
	name := fmt.Sprint("r", i)
	switch i % 4 {
	case 0:
		m, err := lock.OpenOrCreateMutex(d, name, nil)
		return removable{m, func(ctx context.Context) error { return m.Lock(ctx) },
			func() error { return m.Unlock() }}, err
	case 1:
		s, err := lock.OpenOrCreateSemaphore(d, name, 1, nil)
		return removable{s, func(ctx context.Context) error { return s.Acquire(ctx, 1) },
			func() error { return s.Release(1) }}, err
	case 2:
		m, err := lock.OpenOrCreateRWMutex(d, name, nil)
		return removable{m, func(ctx context.Context) error { return m.Lock(ctx) },
			func() error { return m.Unlock() }}, err
	}
	m, err := lock.OpenOrCreateMutex(d, name, nil)
	return removable{m, func(context.Context) error { return m.TryLock() },
		func() error { return m.Unlock() }}, err
}

func runRemoval(b *bout) error {
	if err := b.join(); err != nil {
		return err
	}
	for range b.Harms {
		if b.ctx.Err() != nil {
			return b.ctx.Err()
		}
		if err := removalRound(b); err != nil {
			return err
		}
	}
	return nil
}

func removalRound(b *bout) (err error) {
	open := func() (all []removable, err error) {
		for i := range removals {
			r, err := openRemovable(b.d, i)
			if err != nil {
				return all, err
			}
			all = append(all, r)
		}
		return all, nil
	}
	closeAll := func(all []removable) {
		for _, r := range all {
			err = errors.Join(err, r.Close())
		}
	}
	old, err := open()
	defer func() { closeAll(old) }()
	if err != nil {
		return err
	}
	var crew [removers]*hire
	for i := range crew {
		if crew[i], err = b.hire(fmt.Sprint(i)); err != nil {
			return err
		}
	}
	for _, h := range crew {
		if line, ok := b.answer(h, "to begin"); !ok {
			return fmt.Errorf("a remover says %q", line)
		}
	}
	for _, h := range crew {
		h.tell("remove")
	}
	if _, ok := b.answer(crew[b.rng.IntN(removers)], "to remove"); !ok {
		return nil
	}
	time.Sleep(time.Duration(b.rng.IntN(3000)) * time.Microsecond)
	for _, h := range crew {
		h.kill()
		b.count("kills", 1)
	}
	made, err := open()
	defer func() { closeAll(made) }()
	if err != nil {
		return err
	}
	order := []int{0, 1}
	for i := range removals {
		slices.Reverse(order)
		pair := []removable{old[i], made[i]}
		var errs [2]error
		for _, k := range order {
			ctx, cancel := context.WithTimeout(b.ctx, 10*time.Millisecond)
			errs[k] = pair[k].take(ctx)
			cancel()
		}
		if errs[0] == nil && errs[1] == nil {
			b.violationf("two-owners",
				"lock r%d is held through a handle from before its removal and through one from after", i)
		}
		if errors.Is(errs[1], shiplap.ErrRemoved) {
			b.violationf("error", "lock r%d was just opened: %v", i, errs[1])
		}
		for k, r := range pair {
			if errs[k] == nil {
				if err := r.give(); err != nil && !errors.Is(err, shiplap.ErrRemoved) {
					b.violationf("error", "giving back lock r%d: %v", i, err)
				}
			}
		}
		b.count("locks", 1)
	}
	return err
}

func playRemoval(w *worker) error {
	d, err := w.join()
	if err != nil {
		return err
	}
	defer d.Close()
	w.say("ready")
	w.hear()
	w.say("begins")
	first, err := strconv.Atoi(w.Role)
	if err != nil {
		return err
	}
	for i := first; i < removals; i += removers {
		if err := d.Remove(context.Background(), fmt.Sprint("r", i)); err != nil {
			return err
		}
	}
	w.hear()
	return nil
}
