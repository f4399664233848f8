//go:build linux && (amd64 || arm64)

package killtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// toy is a page of shared counters.
type toy struct {
	mem  []byte
	file *os.File
}

func newToy(t *Trial) (any, error) { return openToy(t.Dir) }

func openToy(dir string) (*toy, error) {
	f, err := os.OpenFile(filepath.Join(dir, "toy"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(4 * pageSize); err != nil {
		return nil, err
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, 4*pageSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	return &toy{mem, f}, err
}

func (y *toy) Close() error { return errors.Join(syscall.Munmap(y.mem), y.file.Close()) }

func (y *toy) word(i int) *uint64 { return (*uint64)(unsafe.Pointer(&y.mem[8*i])) }

func (y *toy) get(i int) uint64 { return atomic.LoadUint64(y.word(i)) }

func (y *toy) set(i int, v uint64) { atomic.StoreUint64(y.word(i), v) }

func (y *toy) lock() error {
	return unix.FcntlFlock(y.file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
}

// far is the index of a word in a page that nobody expects to change.
const far = 2 * pageSize / 8

// on makes a Prepare of an operation on the toy.
func on(op func(y *toy) error) func(*Victim) (func() error, error) {
	return func(v *Victim) (func() error, error) {
		y, err := openToy(v.Dir)
		return func() error { return op(y) }, err
	}
}

// equal checks that the words i and j are the same, and have the new value if the operation was done.
func equal(i, j int, want uint64) func(*Trial, any) error {
	return func(t *Trial, state any) error {
		a, b := state.(*toy).get(i), state.(*toy).get(j)
		switch {
		case a != b:
			return fmt.Errorf("torn: %d and %d", a, b)
		case a != 0 && a != want:
			return fmt.Errorf("wrong: %d", a)
		case t.Done && a != want:
			return errors.New("lost")
		}
		return nil
	}
}

var (
	torn = Scenario{
		Name: "torn", Setup: newToy, Check: equal(0, 1, 7),
		Prepare: on(func(y *toy) error { y.set(0, 7); y.set(1, 7); return nil }),
	}
	tornFar = Scenario{
		Name: "tornFar", Setup: newToy, Check: equal(0, far, 7),
		Prepare: on(func(y *toy) error { y.set(far, 7); y.set(0, 7); return nil }),
	}
	single = Scenario{
		Name: "single", Covers: []string{"toy.Set"}, Setup: newToy,
		Prepare: on(func(y *toy) error { y.set(0, 7); return nil }),
		Check:   equal(0, 0, 7),
		While: func(t *Trial, state any) error {
			if t.Mode != Pause {
				return errors.New("not in a pause")
			}
			return equal(0, 0, 7)(t, state)
		},
		After: func(t *Trial, state any) error {
			if got := state.(*toy).get(0); got != 7 {
				return fmt.Errorf("finished, and the value is %d", got)
			}
			return nil
		},
	}
	files = Scenario{
		Name: "files",
		Prepare: func(v *Victim) (func() error, error) {
			a, err1 := os.Create(filepath.Join(v.Dir, "a"))
			b, err2 := os.Create(filepath.Join(v.Dir, "b"))
			return func() error {
				_, err1 := a.Write([]byte("x"))
				_, err2 := b.Write([]byte("x"))
				return errors.Join(err1, err2)
			}, errors.Join(err1, err2)
		},
		Check: func(t *Trial, _ any) error {
			a, err1 := os.ReadFile(filepath.Join(t.Dir, "a"))
			b, err2 := os.ReadFile(filepath.Join(t.Dir, "b"))
			if string(a) != string(b) {
				return errors.New("torn")
			}
			return errors.Join(err1, err2)
		},
	}

	// intent: word 2 announces the change of words 0 and 1, so that another can complete it.
	intent = Scenario{
		Name: "intent", Setup: newToy, Check: repaired,
		Prepare: on(func(y *toy) error { y.set(2, 7); return completeIntent(y) }),
		Recover: &Recovery{Prepare: on(completeIntent)},
	}
	// hasty forgets the intent before it is done with it.
	hasty = Scenario{
		Name: "hasty", Setup: newToy, Check: repaired,
		Prepare: intent.Prepare,
		Recover: &Recovery{
			Prepare: on(func(y *toy) error {
				if v := y.get(2); v != 0 {
					y.set(2, 0)
					y.set(0, v)
					y.set(1, v)
				}
				return nil
			}),
			Steps: func(total int) []int { return []int{total / 2, total} },
		},
	}

	// count adds to a word again and again: the value tells how far it came.
	count = Scenario{
		Name: "count",
		Prepare: on(func(y *toy) error {
			for range 25 {
				atomic.AddUint64(y.word(0), 1)
			}
			return nil
		}),
		Check: func(*Trial, any) error { return nil },
	}
	// helped needs another goroutine, on another thread, to get on.
	helped = Scenario{
		Name: "helped",
		Prepare: func(*Victim) (func() error, error) {
			ask, answer := make(chan int), make(chan int)
			go func() { answer <- <-ask }()
			return func() error {
				ask <- 1
				if <-answer != 1 {
					return errors.New("wrong answer")
				}
				return nil
			}, nil
		},
		Check: func(*Trial, any) error { return nil },
	}
	// large is long enough for the budget to matter.
	large = Scenario{
		Name: "large", Setup: newToy, Check: equal(0, 0, 7), MaxSteps: 200_000,
		Prepare: on(func(y *toy) error {
			sum := uint64(0)
			for i := range uint64(2000) {
				sum += i * sum
			}
			y.set(0, 7+sum&1)
			for i := range uint64(2000) {
				sum += i * sum
			}
			private.Store(sum)
			return nil
		}),
	}

	// locked holds a lock of an open file description, which the kernel releases on death.
	locked = Scenario{
		Name: "locked", Setup: newToy,
		Prepare: on(func(y *toy) error { return y.lock() }),
		Check: func(_ *Trial, state any) error {
			if err := state.(*toy).lock(); err != nil {
				return fmt.Errorf("dead, and the lock is taken: %w", err)
			}
			return nil
		},
	}
	// moody takes its mood from the trial.
	moody = Scenario{
		Name: "moody",
		Prepare: func(v *Victim) (func() error, error) {
			return func() error {
				switch v.Arg {
				case "bad":
					panic("ouch")
				case "odd":
					private.Add(1)
				}
				return nil
			}, nil
		},
		Check: func(*Trial, any) error { return nil },
	}

	panics = failing("panics", func() error { panic("ouch") })
	errs   = failing("errs", func() error { return errors.New("ouch") })
	exits  = failing("exits", func() error { syscall.Exit(0); return nil })
	dies   = failing("dies", func() error { return syscall.Kill(os.Getpid(), syscall.SIGKILL) })
	sleeps = failing("sleeps", func() error { time.Sleep(time.Hour); return nil })
	spins  = failing("spins", func() error {
		for {
			private.Add(1)
		}
	})
	unprepared = Scenario{
		Name: "unprepared", Check: count.Check,
		Prepare: func(*Victim) (func() error, error) { return nil, errors.New("ouch") },
	}

	toys = []Scenario{
		torn, tornFar, single, files, intent, hasty, count, helped, large, locked, moody,
		panics, errs, exits, dies, sleeps, spins, unprepared,
	}
)

var private atomic.Uint64

func completeIntent(y *toy) error {
	if v := y.get(2); v != 0 {
		y.set(0, v)
		y.set(1, v)
		y.set(2, 0)
	}
	return nil
}

func repaired(t *Trial, state any) error {
	if err := completeIntent(state.(*toy)); err != nil {
		return err
	}
	return equal(0, 1, 7)(t, state)
}

func failing(name string, op func() error) Scenario {
	return Scenario{
		Name:    name,
		Prepare: func(*Victim) (func() error, error) { return op, nil },
		Check:   func(*Trial, any) error { return nil },
	}
}

// openBoth has a fault.
func openBoth(a, b string) error {
	f, err := os.Open(a)
	if err != nil {
		return err
	}
	g, err := os.Open(b)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), g.Close())
}
