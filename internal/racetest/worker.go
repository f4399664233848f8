package racetest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

const envOrder = "SHIPLAP_RACETEST"

// order is what a worker is to do; it travels in the environment.
type order struct {
	Scene   string
	Role    string
	Base    string // of the domain
	Ledger  string
	Hire    int
	Exec    int
	Seed    uint64
	Weather Weather
}

// Main returns at once unless this process is a worker, which works and exits. Call it before
// anything else.
func Main() {
	text, there := os.LookupEnv(envOrder)
	if !there {
		return
	}
	w := &worker{in: bufio.NewScanner(os.Stdin)}
	if err := w.run(text); err != nil {
		w.complain("error", "%v", err)
		os.Exit(3)
	}
	os.Exit(0)
}

// worker is a process that uses the object.
type worker struct {
	order
	*ledger
	in  *bufio.Scanner
	rng *rand.Rand // of the main goroutine

	mu     sync.Mutex
	closed uint64 // when the cycle began to close its handles
}

func (w *worker) run(text string) (err error) {
	if err := json.Unmarshal([]byte(text), &w.order); err != nil {
		return err
	}
	if err := os.Unsetenv(envOrder); err != nil { // programs that it runs are no workers
		return err
	}
	if w.ledger, err = openLedger(w.Ledger); err != nil {
		return err
	}
	w.rng = rand.New(rand.NewPCG(w.Seed, uint64(w.Hire)<<8|uint64(w.Exec)))
	s, ok := sceneNamed(w.Scene)
	if !ok {
		return fmt.Errorf("no scene %q", w.Scene)
	}
	return s.play(w)
}

// say writes a line for the supervisor with one system call, so that a death leaves whole lines.
func (w *worker) say(format string, a ...any) {
	line := strings.ReplaceAll(fmt.Sprintf(format, a...), "\n", "; ")
	_, _ = os.Stdout.WriteString(line + "\n")
}

// complain reports a violation.
func (w *worker) complain(kind, format string, a ...any) {
	w.say("V "+kind+" "+format, a...)
}

// hear waits for a line of the supervisor; it is false when it is gone.
func (w *worker) hear() (string, bool) {
	ok := w.in.Scan()
	return w.in.Text(), ok
}

func (w *worker) stopping() bool { return w.stop.Load() != 0 }

// join joins the domain, again if its directory is just being deleted.
func (w *worker) join() (*shiplap.Domain, error) {
	for {
		d, err := shiplap.Join("race", &shiplap.Options{Dir: w.Base, Wait: w.Weather.Wait,
			NoSweep: w.rng.IntN(4) > 0})
		if err == nil || !w.excusedAbsence(err) {
			return d, err
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// excusedAbsence reports whether the error only says that the supervisor takes things away.
func (w *worker) excusedAbsence(err error) bool {
	gone := errors.Is(err, shiplap.ErrNotExist) || errors.Is(err, shiplap.ErrRemoved) ||
		errors.Is(err, fs.ErrNotExist)
	return gone && (w.Weather.Remove || w.Weather.Wipe)
}

// harm starts what this worker does to itself: it runs programs, and it becomes another.
func (w *worker) harm() (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	if w.Weather.Fork {
		wg.Go(func() {
			for ctx.Err() == nil {
				_ = exec.Command("true").Run()
			}
		})
	}
	if w.Weather.Exec && w.Exec+1 < maxExecs {
		after := time.Duration(5+w.rng.IntN(60)) * time.Millisecond
		wg.Go(func() {
			select {
			case <-ctx.Done():
			case <-time.After(after):
				if w.ledger.stop.Load() == 0 {
					w.become(w.Role)
				}
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// become turns this process into another program: itself, in a role. Everything that it held in the
// domain is given up by that.
func (w *worker) become(role string) {
	o := w.order
	o.Role = role
	o.Exec++
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	w.row(w.Hire).execs.Store(uint64(o.Exec))
	err = syscall.Exec("/proc/self/exe", os.Args[:1], append(os.Environ(), envOrder+"="+string(text)))
	w.complain("error", "exec: %v", err)
	os.Exit(3)
}

// hand is a goroutine that takes turns.
type hand struct {
	*worker
	slot
	n       int
	rng     *rand.Rand
	ctx     context.Context // ends with nothing but the worker
	temper  temper
	closing chan struct{} // closed when the handles of the cycle are about to be closed
}

// temper is how a goroutine behaves in one cycle.
type temper int

const (
	eager   temper = iota // it never pauses
	pausing               // it pauses now and then, inside and outside
	keeping               // it keeps what it has until the handles are closed
)

// temper draws one. Seldom does one keep what it has: the others then only wait.
func (w *worker) temper(calm bool) temper {
	switch k := w.rng.IntN(12); {
	case calm || k < 7:
		return eager
	case k < 11:
		return pausing
	}
	return keeping
}

// hands starts n goroutines that take turns until their turn returns false, and returns what waits
// for them.
func (w *worker) hands(n int, closing chan struct{}, turn func(h *hand) bool) *sync.WaitGroup {
	wg := new(sync.WaitGroup)
	calm := w.rng.IntN(2) == 0
	for i := range n {
		h := &hand{worker: w, temper: w.temper(calm), slot: w.slot(w.Hire, w.Exec, i), n: i, closing: closing,
			ctx: context.Background(),
			rng: rand.New(rand.NewPCG(w.rng.Uint64(), w.rng.Uint64()))}
		wg.Go(func() {
			for {
				h.turns.Add(1)
				if !turn(h) {
					return
				}
			}
		})
	}
	return wg
}

// me is the goroutine's name in this turn.
func (h *hand) me() name { return nameOf(h.Hire, h.Exec, h.n, h.epoch.Load(), h.turns.Load()) }

// closes notes that the handles are about to be closed: from now on no call may wait for long.
func (w *worker) closes() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = now()
	for i := range maxHands {
		s := w.slot(w.Hire, w.Exec, i)
		if s.since.Load() == never {
			s.since.Store(w.closed)
		}
	}
}

func (w *worker) opens() {
	w.mu.Lock()
	w.closed = 0
	w.mu.Unlock()
}

const never = 1<<64 - 1

// call makes a call that must return soon, or after the time that its context gives it.
func (h *hand) call(op op, within time.Duration, f func() error) error {
	h.since.Store(now() + uint64(within))
	h.op.Store(uint64(op))
	err := f()
	h.op.Store(0)
	return err
}

// wait makes a call that may wait until the handles are closed.
func (h *hand) wait(op op, f func() error) error {
	h.mu.Lock()
	h.since.Store(never)
	if h.worker.closed != 0 {
		h.since.Store(now())
	}
	h.op.Store(uint64(op))
	h.mu.Unlock()
	err := f()
	h.op.Store(0)
	return err
}

// pause does nothing for a random while, seldom a long one.
func (h *hand) pause() {
	switch k := h.rng.IntN(40); {
	case k == 0:
		time.Sleep(time.Duration(h.rng.IntN(3000)) * time.Microsecond)
	case k < 4:
		time.Sleep(time.Duration(h.rng.IntN(100)) * time.Microsecond)
	case k < 12:
		for range h.rng.IntN(2000) {
			h.epoch.Load()
		}
	}
}

// until waits until the handles are about to be closed, and not much longer.
func (h *hand) until() {
	select {
	case <-h.closing:
	case <-time.After(5 * time.Millisecond):
	}
}

// linger stays inside for a random while. One that is inside while the handles are closed stays
// longer: then it is to be seen whether others get in.
func (h *hand) linger() {
	switch h.temper {
	case keeping:
		h.until()
	case pausing:
		h.pause()
	}
	if h.isClosing() {
		time.Sleep(time.Duration(h.rng.IntN(3)) * time.Millisecond)
	}
}

// context is one that ends soon, at times, and how long it lasts.
func (h *hand) context() (ctx context.Context, within time.Duration, cancel func()) {
	switch h.rng.IntN(10) {
	case 0:
		within = time.Duration(h.rng.IntN(300)) * time.Microsecond
	case 1:
		within = time.Duration(h.rng.IntN(5000)) * time.Microsecond
	default:
		return h.ctx, 0, func() {}
	}
	ctx, cancel = context.WithTimeout(h.ctx, within)
	return ctx, within, cancel
}

// over reports whether the error is one of those that a handle says at its end, or that the weather
// explains.
func (h *hand) over(err error) bool {
	return errors.Is(err, shiplap.ErrClosed) || h.excusedAbsence(err)
}

// isClosing reports whether the handles of the cycle are about to be closed.
func (h *hand) isClosing() bool {
	select {
	case <-h.closing:
		return true
	default:
		return false
	}
}

// gaveUp reports whether the context ended.
func gaveUp(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// unexpected reports an error that nothing explains.
func (h *hand) unexpected(what string, err error) {
	h.complain("error", "%s: %v", what, err)
}

// leaves runs f and reports what goroutines, descriptors and mappings it left.
func (w *worker) leaves(f func() error) error {
	before := leaktest.Look()
	err := f()
	if left := before.Left(); len(left) > 0 {
		w.complain("leak", "after everything was closed: %s", strings.Join(left, ", "))
	}
	return err
}
