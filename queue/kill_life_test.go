package queue_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/queue"
)

// life is what survivors have in the scenarios of birth, opening and end of a queue called "n".
type life struct {
	d    *shiplap.Domain
	keep *queue.Queue[int64]
}

func (l *life) Close() error {
	if l.keep != nil {
		l.keep.Close()
	}
	return l.d.Close()
}

// before makes a Setup; half leaves the name of a queue that somebody died while removing.
func before(make func(d *shiplap.Domain) (*queue.Queue[int64], error)) func(*killtest.Trial) (any, error) {
	return func(t *killtest.Trial) (any, error) {
		d, err := shiplap.Join("", &shiplap.Options{Dir: t.Dir})
		if err != nil {
			return nil, err
		}
		l := &life{d: d}
		if l.keep, err = make(d); err != nil {
			l.Close()
			return nil, err
		}
		return l, nil
	}
}

func nothing(*shiplap.Domain) (*queue.Queue[int64], error) { return nil, nil }

func half(d *shiplap.Domain) (*queue.Queue[int64], error) {
	q, err := queue.Create[int64](d, "n", &queue.Options{Capacity: 4096})
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(d.Dir(), "n"), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte{1}, 128) // the state word: removed
	return nil, errors.Join(err, q.Close())
}

func existing(flags queue.Options) func(d *shiplap.Domain) (*queue.Queue[int64], error) {
	return func(d *shiplap.Domain) (*queue.Queue[int64], error) {
		flags.Capacity = 4096
		q, err := queue.Create[int64](d, "n", &flags)
		if err == nil {
			err = q.TryPut(41)
		}
		return q, err
	}
}

// live makes a Prepare.
func live(op func(d *shiplap.Domain) (func() error, error)) func(*killtest.Victim) (func() error, error) {
	return func(v *killtest.Victim) (func() error, error) {
		d, err := shiplap.Join("", &shiplap.Options{Dir: v.Dir, NoSweep: true})
		if err != nil {
			return nil, err
		}
		return op(d)
	}
}

func born(t *killtest.Trial, state any) error {
	l := state.(*life)
	if _, err := l.d.Stat("n"); err != nil && (t.Done || t.Mode == killtest.Pause || !errors.Is(err, shiplap.ErrNotExist)) {
		return err
	}
	return usable(t, state)
}

// usable: the queue can be opened or made, used, and made to go; nothing else stays.
func usable(_ *killtest.Trial, state any) error {
	l := state.(*life)
	return killtest.Promptly("use", func(ctx context.Context) error {
		q, err := queue.OpenOrCreate[int64](l.d, "n", &queue.Options{Capacity: 4096})
		if err != nil {
			return err
		}
		defer q.Close()
		if l.keep != nil {
			if v, err := q.Get(ctx); err != nil || v != 41 {
				return fmt.Errorf("what was in it before is %d (%v)", v, err)
			}
		}
		if err := q.Put(ctx, 42); err != nil {
			return err
		}
		if v, err := q.Get(ctx); err != nil || v != 42 {
			return fmt.Errorf("got %d, put 42 (%v)", v, err)
		}
		if err := tidy(l.d, "n"); err != nil {
			return err
		}
		if err := l.d.Remove(ctx, "n"); err != nil {
			return err
		}
		return tidy(l.d)
	})
}

// beside is what survivors do while the victim stands still: a sweep must not take away what it is making, and an
// object of another name comes and goes unless the victim has the names locked.
func beside(_ *killtest.Trial, state any) error {
	l := state.(*life)
	ctx, cancel := context.WithTimeout(bg, 3*time.Millisecond)
	defer cancel()
	if _, err := l.d.Sweep(ctx, false); err != nil && !errors.Is(err, shiplap.ErrBusy) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("sweep: %w", err)
	}
	q, err := queue.CreateRaw(l.d, "other", &queue.Options{Capacity: 4096})
	if err != nil {
		return err
	}
	if err := l.d.Remove(ctx, "other"); err != nil && !errors.Is(err, shiplap.ErrBusy) {
		return err
	}
	return q.Close()
}

// sameForBoth is While of OpenOrCreate: what survivors put is in the queue that the victim gets.
func sameForBoth(_ *killtest.Trial, state any) (err error) {
	l := state.(*life)
	if l.keep, err = queue.OpenOrCreate[int64](l.d, "n", &queue.Options{Capacity: 4096}); err != nil {
		return err
	}
	return l.keep.TryPut(41)
}

// removing reports that somebody has the right to take the queue away, so that who opens it would wait.
func removing(d *shiplap.Domain) bool {
	f, err := os.OpenFile(filepath.Join(d.Dir(), "n"), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	lk := unix.Flock_t{Type: unix.F_RDLCK, Start: 1 << 40, Len: 1 << 10}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lk)
	return err == nil && lk.Type != unix.F_UNLCK
}

// lives are the scenarios of the beginning and the end of a queue.
func lives() []killtest.Scenario {
	small := &queue.Options{Capacity: 4096}
	create := func(d *shiplap.Domain) (func() error, error) {
		return func() error {
			_, err := queue.Create[int64](d, "n", small)
			return err
		}, nil
	}
	open := func(d *shiplap.Domain) (func() error, error) {
		return func() error {
			_, err := queue.Open[int64](d, "n", nil)
			return err
		}, nil
	}
	openOrCreate := func(d *shiplap.Domain) (func() error, error) {
		return func() error {
			_, err := queue.OpenOrCreate[int64](d, "n", small)
			return err
		}, nil
	}
	return []killtest.Scenario{
		{
			Name: "queue/Create", Covers: []string{"queue.Create", "queue.CreateRaw"},
			Setup: before(nothing), Prepare: live(create), Check: born, While: beside,
			Recover: &killtest.Recovery{Prepare: live(openOrCreate), Steps: deaths},
		},
		{Name: "queue/Create over a name half removed", Setup: before(half), Prepare: live(create), Check: born, While: beside},
		{
			Name: "queue/OpenOrCreate", Covers: []string{"queue.OpenOrCreate"},
			Setup: before(nothing), Prepare: live(openOrCreate), Check: born, While: sameForBoth,
		},
		{
			Name: "queue/Open", Covers: []string{"queue.Open", "queue.OpenRaw"},
			Setup: before(existing(queue.Options{})), Prepare: live(open), Check: born, While: beside,
		},
		{
			Name: "queue/Open a name half removed", Setup: before(half), Check: usable, While: beside,
			Prepare: live(func(d *shiplap.Domain) (func() error, error) {
				return func() error {
					if _, err := queue.OpenRaw(d, "n", nil); !errors.Is(err, shiplap.ErrNotExist) {
						return fmt.Errorf("opened what is removed: %w", err)
					}
					return nil
				}, nil
			}),
		},
		{
			Name: "queue/Close, ephemeral, others use it", Setup: before(existing(queue.Options{Ephemeral: true})), Check: born, While: beside,
			Prepare: live(func(d *shiplap.Domain) (func() error, error) {
				q, err := queue.OpenRaw(d, "n", nil)
				return func() error { return q.Close() }, err
			}),
		},
		{
			Name: "queue/Close, ephemeral, last user", Setup: before(nothing), Check: goneWithLast, While: openLast, After: keepsLast,
			Prepare: live(func(d *shiplap.Domain) (func() error, error) {
				q, err := queue.Create[int64](d, "n", &queue.Options{Capacity: 4096, Ephemeral: true})
				return func() error { return q.Close() }, err
			}),
			Recover: &killtest.Recovery{Prepare: live(func(d *shiplap.Domain) (func() error, error) {
				return func() error { _, err := d.Sweep(bg, false); return err }, nil
			}), Steps: deaths},
		},
	}
}

func goneWithLast(_ *killtest.Trial, state any) error {
	l := state.(*life)
	return killtest.Promptly("sweep", func(context.Context) error { return tidy(l.d) })
}

// openLast opens the queue that the victim is about to leave, if it is still there.
func openLast(_ *killtest.Trial, state any) error {
	l := state.(*life)
	if removing(l.d) {
		return nil // whoever opened it now would wait for seconds, then get ErrBusy
	}
	q, err := queue.Open[int64](l.d, "n", nil)
	if errors.Is(err, shiplap.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	l.keep = q
	return q.TryPut(43)
}

// keepsLast: who opened it has it, whatever the victim did then.
func keepsLast(t *killtest.Trial, state any) error {
	l := state.(*life)
	if l.keep != nil {
		if v, err := l.keep.TryGet(); err != nil || v != 43 {
			return fmt.Errorf("the queue was taken away under its user: %d, %w", v, err)
		}
		if _, err := l.d.Stat("n"); err != nil {
			return err
		}
		if err := l.keep.Close(); err != nil {
			return err
		}
		l.keep = nil
	}
	return goneWithLast(t, state)
}
