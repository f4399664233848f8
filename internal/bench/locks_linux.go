package bench

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/lock"
	"github.com/shiplap-ipc/shiplap/shared"
)

//go:embed c/pthread.c
var pthreadSource []byte

// Names of figures that goals refer to.
const (
	mutexAlone     = "shiplap mutex, lock and unlock, uncontended"
	pthreadAlone   = "pthread robust mutex, lock and unlock, uncontended"
	mutexPair      = "shiplap mutex, two processes: lock, count, unlock"
	pthreadPair    = "pthread robust mutex, two processes: lock, count, unlock"
	mutexSlower    = "turns of the slower of the two, shiplap"
	pthreadSlower  = "turns of the slower of the two, pthread"
	takeOverMedian = "getting the mutex of a killed holder"
	takeOverWorst  = "getting the mutex of a killed holder, worst"
	atomicAdd      = "a plain atomic add"
	valueAdd       = "shiplap value, add, in place"
	valueSafeAdd   = "shiplap value, add"
	sliceSum       = "sum of a plain Go slice, 1 MiB"
	arraySum       = "sum of a shiplap array in place, 1 MiB"
)

// locks measures, in turns, what a mutex and values cost.
type locks struct {
	cfg     Config
	base    string
	pthread string // the compiled program, "" where there is no compiler
	tally
}

// Locks measures package lock and package shared beside C and Go. note is told what could not be
// compared.
func Locks(ctx context.Context, cfg Config, base string, note func(string)) ([]Result, error) {
	l := &locks{cfg: cfg, base: base}
	if err := l.compile(ctx); err != nil {
		note("no comparison with pthread: " + err.Error())
	}
	d, err := shiplap.Join("turns", &shiplap.Options{Dir: base})
	if err != nil {
		return nil, err
	}
	defer d.Close()
	m, err := lock.CreateMutex(d, "turns", nil)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	for _, part := range []struct {
		name   string
		rounds int
		run    func(ctx context.Context, d *shiplap.Domain, m *lock.Mutex, rounds int) error
	}{
		{"mutex, uncontended", 30, l.alone},
		{"mutex, two processes", 15, l.pair},
		{"mutex of the dead", 60, l.deaths},
		{"value", 30, l.values},
		{"array", 30, l.arrays},
	} {
		cfg.Progress(part.name, 0, 1)
		if err := part.run(ctx, d, m, max(int(float64(part.rounds)*cfg.Scale), 3)); err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return l.results("locks, values, arrays"), nil
}

func (l *locks) compile(ctx context.Context) error {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return err
	}
	source := filepath.Join(l.base, "pthread.c")
	if err := os.WriteFile(source, pthreadSource, 0o600); err != nil {
		return err
	}
	program := filepath.Join(l.base, "pthread")
	if out, err := exec.CommandContext(ctx, cc, "-O2", "-pthread", "-o", program, source).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cc, err, out)
	}
	l.pthread = program
	return nil
}

const turnSlice = 30 * time.Millisecond

func (l *locks) c(ctx context.Context, mode string, long time.Duration, into ...any) error {
	out, err := exec.CommandContext(ctx, l.pthread, mode, fmt.Sprint(long.Milliseconds())).Output()
	if err != nil {
		return fmt.Errorf("the C program: %w", err)
	}
	_, err = fmt.Sscan(string(out), into...)
	return err
}

// timed is what one of n steps of f takes, in nanoseconds, on a processor of its own.
func timed(n int, f func(n int) error) (float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	bind(apart[0])
	defer bind(-1)
	start := time.Now()
	err := f(n)
	return float64(time.Since(start).Nanoseconds()) / float64(n), err
}

const steps = 500_000

func (l *locks) alone(ctx context.Context, _ *shiplap.Domain, m *lock.Mutex, rounds int) error {
	for range rounds {
		ns, err := timed(steps, func(n int) error {
			for range n {
				if err := m.Lock(ctx); err != nil {
					return err
				}
				if err := m.Unlock(); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		l.add(mutexAlone, "ns", ns)
		if l.pthread == "" {
			continue
		}
		if err := l.c(ctx, "alone", turnSlice/2, &ns); err != nil {
			return err
		}
		l.add(pthreadAlone, "ns", ns)
	}
	return nil
}

func (l *locks) raw() (*os.File, *mem.Region, error) {
	f, err := os.OpenFile(filepath.Join(l.base, "turns"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, playSize); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	r, err := mem.Map(int(f.Fd()), mem.Part{Len: playSize})
	return f, r, err
}

func (l *locks) pair(ctx context.Context, _ *shiplap.Domain, _ *lock.Mutex, rounds int) error {
	f, region, err := l.raw()
	if err != nil {
		return err
	}
	defer f.Close()
	defer region.Unmap()
	var players [2]*player
	for i := range players {
		if players[i], err = startPlayer(ctx, l.cfg.Peer, envPlayer, l.base, f); err != nil {
			return err
		}
		defer players[i].end(false)
		if err := players[i].tell("bind", int64(apart[i])); err != nil {
			return err
		}
		if _, err := players[i].answer(); err != nil {
			return err
		}
	}
	time.Sleep(50 * time.Millisecond) // until both take part in membarrier, see package mem
	counter, ready := region.Span(0).U64(playCounter), region.Span(0).U32(playReady)
	for range rounds {
		counter.Store(0)
		ready.Store(0)
		var n [2]uint64
		for _, p := range players {
			if err := p.tell("turns", int64(turnSlice)); err != nil {
				return err
			}
		}
		for i, p := range players {
			if n[i], err = p.answer(); err != nil {
				return err
			}
		}
		if err := l.turns(mutexPair, mutexSlower, n, counter.Load()); err != nil {
			return err
		}
		if l.pthread == "" {
			continue
		}
		var total uint64
		if err := l.c(ctx, "pair", turnSlice, &n[0], &n[1], &total); err != nil {
			return err
		}
		if err := l.turns(pthreadPair, pthreadSlower, n, total); err != nil {
			return err
		}
	}
	return nil
}

func (l *locks) turns(rate, slower string, n [2]uint64, total uint64) error {
	sum := n[0] + n[1]
	if sum != total {
		return fmt.Errorf("%s: %d turns, and the counter stands at %d", rate, sum, total)
	}
	l.add(rate, "1/s", float64(sum)/turnSlice.Seconds())
	l.add(slower, "%", 100*float64(min(n[0], n[1]))/float64(sum))
	return nil
}

func (l *locks) deaths(ctx context.Context, _ *shiplap.Domain, m *lock.Mutex, rounds int) error {
	f, region, err := l.raw()
	if err != nil {
		return err
	}
	defer f.Close()
	defer region.Unmap()
	worst := 0.0
	for range rounds {
		p, err := startPlayer(ctx, l.cfg.Peer, envPlayer, l.base, f)
		if err != nil {
			return err
		}
		took, err := takeOver(ctx, m, p)
		if err != nil {
			p.end(true)
			return err
		}
		l.add(takeOverMedian, "ns", float64(took))
		worst = max(worst, float64(took))
	}
	l.add(takeOverWorst, "ns", worst)
	return nil
}

func (l *locks) values(_ context.Context, d *shiplap.Domain, _ *lock.Mutex, rounds int) error {
	v, err := shared.CreateValue(d, "value", int64(0), nil)
	if err != nil {
		return err
	}
	defer v.Close()
	w, err := shared.Pin(v)
	if err != nil {
		return err
	}
	defer w.Release()
	var plain atomic.Int64
	for range rounds {
		for _, c := range []struct {
			name string
			run  func(n int) error
		}{
			{atomicAdd, func(n int) error {
				for range n {
					plain.Add(1)
				}
				return nil
			}},
			{valueAdd, func(n int) error {
				for range n {
					w.Add(1)
				}
				return nil
			}},
			{valueSafeAdd, func(n int) error {
				for range n {
					if _, err := shared.Add(v, 1); err != nil {
						return err
					}
				}
				return nil
			}},
		} {
			ns, err := timed(steps, c.run)
			if err != nil {
				return err
			}
			l.add(c.name, "ns", ns)
		}
	}
	return nil
}

func (l *locks) arrays(_ context.Context, d *shiplap.Domain, _ *lock.Mutex, rounds int) error {
	const n = 1 << 17
	a, err := shared.CreateArray[float64](d, "array", []int{n}, nil)
	if err != nil {
		return err
	}
	defer a.Close()
	view, err := a.Pin()
	if err != nil {
		return err
	}
	defer view.Release()
	in, ok := view.Contiguous()
	if !ok {
		return errors.New("the array is not in one piece")
	}
	plain := make([]float64, n)
	for i := range plain {
		plain[i] = float64(i)
		in[i] = float64(i)
	}
	sum := func(v []float64) func(int) error {
		return func(times int) error {
			total := 0.0
			for range times {
				for i, x := range v {
					total += x
					v[i] = x + 1
				}
			}
			if total < 0 {
				return errors.New("the sum is negative")
			}
			return nil
		}
	}
	for range rounds {
		for name, v := range map[string][]float64{sliceSum: plain, arraySum: in} {
			ns, err := timed(8, sum(v))
			if err != nil {
				return err
			}
			l.add(name, "ns", ns)
		}
	}
	return nil
}
