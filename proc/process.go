package proc

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// process is a spec and what became of it. While it is not at rest, a goroutine, its keeper, looks after it.
type process struct {
	m    *Manager
	spec Spec
	turn sync.Mutex // of those who write to spec.Output
	ends ends       // under the manager's lock

	probing chan struct{} // holds one while Spec.Probe runs

	mu      sync.Mutex
	st      State
	changed chan struct{} // closed at the next change
	keeper  *keeper       // nil at rest
	life    *life         // nil when it does not run
	coming  int           // Restarts that are between stop and start
	retired bool
	wishes  uint64 // how often somebody wanted something of it
}

// keeper is from a start to rest.
type keeper struct {
	ctx     context.Context // ends when it is told to stop
	stop    context.CancelFunc
	now     chan struct{} // start now, whatever the back-off says
	done    chan struct{}
	problem error // why the first life since somebody started it failed, if it did
	again   bool  // Restart started it
	ready   bool  // it was, since then
}

func newProcess(m *Manager, s Spec) *process {
	target := "func " + s.Func
	if s.Func == "" {
		target = strings.Join(slices.Concat(s.Command, s.Args), " ")
	}
	return &process{m: m, spec: s, changed: make(chan struct{}), probing: make(chan struct{}, 1),
		st: State{Name: s.Name, Target: target, Phase: Stopped, Since: time.Now()}}
}

func (p *process) state() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.st
}

// set changes the state under the lock, and wakes who waits for that.
func (p *process) set(f func(*State)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setLocked(f)
}

func (p *process) setLocked(f func(*State)) {
	phase := p.st.Phase
	f(&p.st)
	if p.st.Phase != phase {
		p.st.Since = time.Now()
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// await waits until f reports true.
func (p *process) await(ctx context.Context, f func(State, *keeper) bool) error {
	for {
		p.mu.Lock()
		ok, changed := f(p.st, p.keeper), p.changed
		p.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for process %q: %w", p.spec.Name, context.Cause(ctx))
		}
	}
}

func (p *process) retire() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = p.retired || p.keeper == nil
	return p.retired
}

func (p *process) signal(s syscall.Signal) error {
	p.mu.Lock()
	l := p.life
	p.mu.Unlock()
	if l == nil || l.over() {
		return fmt.Errorf("process %q does not run: %w", p.spec.Name, os.ErrProcessDone)
	}
	l.signal(orderSignal, s)
	return nil
}

// launch makes it run, if it does not. deps must be ready first.
func (p *process) launch(deps []*process, again bool) (*keeper, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired {
		return nil, fmt.Errorf("process %q was removed: %w", p.spec.Name, errs.ErrNotExist)
	}
	if k := p.keeper; k != nil {
		if k.ctx.Err() != nil { // told to stop, or coming to rest by itself
			return nil, fmt.Errorf("process %q is just coming to rest: %w", p.spec.Name, errs.ErrBusy)
		}
		if p.st.Phase == Pausing {
			select {
			case k.now <- struct{}{}:
			default:
			}
		}
		if p.st.Phase != Running { // what was before says nothing to who starts it now
			k.ready, k.problem = false, nil
		}
		return k, nil
	}
	k := &keeper{now: make(chan struct{}, 1), done: make(chan struct{}), again: again}
	k.ctx, k.stop = context.WithCancel(context.Background())
	p.keeper = k
	p.setLocked(func(s *State) {
		s.Phase, s.Restarts, s.InARow, s.Problem = Waiting, 0, 0, ""
	})
	go p.keep(k, deps)
	return k, nil
}

// expect says that it will be started again, or, with -1, that it was.
func (p *process) expect(n int) { p.set(func(*State) { p.coming += n }) }

// halt tells it to stop, and returns what is closed when it did.
func (p *process) halt() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keeper == nil {
		return closedChan
	}
	p.keeper.stop()
	return p.keeper.done
}

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()
