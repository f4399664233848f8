package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/topic"
)

// DefaultName is what a manager is called that is given no name.
const DefaultName = "main"

// Options of a manager. The zero value is good.
type Options struct {
	// Name of the manager, unique in its domain; "" is DefaultName.
	Name string
	// Output is where the lines of the processes go, each with the name in front; nil is os.Stderr. Writes come from one
	// goroutine at a time. See Lines and Slog.
	Output io.Writer
	// Logger is told of hooks that panicked and the like; nil is slog.Default.
	Logger *slog.Logger
	// Private keeps the manager from listening for orders from outside, and from publishing its events.
	Private bool
}

// Manager runs processes. All methods may be called concurrently.
type Manager struct {
	d    *shiplap.Domain
	name string
	base string // directory below which domains lie, absolute
	opt  Options
	log  *slog.Logger
	turn sync.Mutex // of those who write to Options.Output

	ctx    context.Context // until Close
	cancel context.CancelFunc
	ctl    *control
	events *topic.Topic[Event] // nil if Private

	guardMu sync.Mutex
	guard   *guard // nil before the first start

	mu     sync.Mutex
	procs  map[string]*process
	order  []*process // as they were added
	hooks  hooks
	closed bool
	killed bool // nor are other guardians started
}

// New makes a manager in a domain. The program must have called Init. shiplap.ErrExist says that a living process has a manager
// of that name; one that died is succeeded.
func New(d *shiplap.Domain, opt *Options) (*Manager, error) {
	m := &Manager{d: d, procs: map[string]*process{}}
	if opt != nil {
		m.opt = *opt
	}
	set(&m.opt.Name, DefaultName)
	if m.opt.Output == nil {
		m.opt.Output = os.Stderr
	}
	if m.log = m.opt.Logger; m.log == nil {
		m.log = slog.Default()
	}
	m.name = m.opt.Name
	if err := checkName("manager", m.name); err != nil {
		return nil, err
	}
	if !initialised.Load() {
		return nil, fmt.Errorf("process manager %q: call proc.Init first thing in main: the manager starts copies of this program, which it takes over", m.name)
	}
	var err error
	if m.base, err = baseOf(d); err != nil {
		return nil, fmt.Errorf("process manager %q: %w", m.name, err)
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	if !m.opt.Private {
		if err := m.announce(); err != nil {
			m.cancel()
			return nil, err
		}
		if err := m.listen(); err != nil {
			m.cancel()
			return nil, errors.Join(err, m.events.Close())
		}
	}
	return m, nil
}

// Name is the name of the manager.
func (m *Manager) Name() string { return m.name }

// String names the manager.
func (m *Manager) String() string { return fmt.Sprintf("process manager %q", m.name) }

func (m *Manager) closedErr() error { return fmt.Errorf("%v: %w", m, errs.ErrClosed) }

// Add adds a process, without starting it. Its Func must be registered by now; the processes in After may be added later.
// shiplap.ErrExist says that there is one of that name.
func (m *Manager) Add(s Spec) error {
	s, err := s.filled()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return m.closedErr()
	}
	if m.procs[s.Name] != nil {
		return fmt.Errorf("process %q: %w in %v", s.Name, errs.ErrExist, m)
	}
	p := newProcess(m, s)
	if err := p.makeChannels(); err != nil {
		return err
	}
	m.procs[s.Name] = p
	m.order = append(m.order, p)
	return nil
}

// Remove forgets a process that is at rest; else shiplap.ErrBusy.
func (m *Manager) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.procs[name]
	if p == nil {
		return m.unknown(name)
	}
	if !p.retire() {
		return fmt.Errorf("process %q is not at rest: %w; stop it first", name, errs.ErrBusy)
	}
	delete(m.procs, name)
	m.order = slices.DeleteFunc(m.order, func(q *process) bool { return q == p })
	return p.ends.close()
}

func (m *Manager) unknown(name string) error {
	var names []string
	for _, p := range m.order {
		names = append(names, p.spec.Name)
	}
	return fmt.Errorf("process %q: %w in %v, which has %q", name, errs.ErrNotExist, m, names)
}

func (m *Manager) find(name string) (*process, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.procs[name]; p != nil {
		return p, nil
	}
	return nil, m.unknown(name)
}

// some are the processes of these names, or all if there are none.
func (m *Manager) some(names []string) ([]*process, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(names) == 0 {
		return slices.Clone(m.order), nil
	}
	var all []*process
	for _, name := range names {
		p := m.procs[name]
		if p == nil {
			return nil, m.unknown(name)
		}
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all, nil
}

// State looks at a process.
func (m *Manager) State(name string) (State, error) {
	p, err := m.find(name)
	if err != nil {
		return State{}, err
	}
	return p.state(), nil
}

// States looks at all processes, in the order in which they were added.
func (m *Manager) States() []State {
	all, _ := m.some(nil)
	states := make([]State, 0, len(all))
	for _, p := range all {
		states = append(states, p.state())
	}
	return states
}

// IsAlive reports whether the process runs.
func (m *Manager) IsAlive(name string) bool {
	p, err := m.find(name)
	return err == nil && p.state().Pid != 0
}

// Signal sends a signal to the process and its group.
func (m *Manager) Signal(name string, s syscall.Signal) error {
	p, err := m.find(name)
	if err != nil {
		return err
	}
	if s < 1 || s > 64 {
		return fmt.Errorf("signal %d to process %q: 1 to 64 is wanted", int(s), name)
	}
	return p.signal(s)
}

// Close stops all processes as StopAll does, with their time to stop, and ends the guardian. Processes that were added are
// forgotten.
func (m *Manager) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return m.closedErr()
	}
	m.closed = true
	all := slices.Clone(m.order)
	m.mu.Unlock()
	err := m.StopAll(context.Background())
	for _, p := range all {
		for !p.retire() { // somebody was just starting it
			<-p.halt()
		}
	}
	m.cancel()
	if m.ctl != nil {
		err = errors.Join(err, m.ctl.close())
	}
	if m.events != nil {
		err = errors.Join(err, m.events.Close())
	}
	m.mu.Lock()
	for _, p := range all {
		err = errors.Join(err, p.ends.close())
	}
	m.mu.Unlock()
	m.guardMu.Lock()
	defer m.guardMu.Unlock()
	if m.guard != nil {
		m.guard.close()
	}
	return err
}

// guarded is the guardian, a new one if need be.
func (m *Manager) guarded() (*guard, error) {
	m.guardMu.Lock()
	defer m.guardMu.Unlock()
	m.mu.Lock()
	killed := m.killed
	m.mu.Unlock()
	if killed {
		return nil, m.closedErr()
	}
	if g := m.guard; g != nil {
		select {
		case <-g.done:
			m.log.Warn("the guardian was killed; starting another one", "manager", m.name)
		default:
			return g, nil
		}
	}
	g, err := newGuard(m.name, m.d.Name(), m.base)
	if err != nil {
		return nil, err
	}
	m.guard = g
	return g, nil
}

// baseOf is the directory that the domain was joined below, also for who runs elsewhere.
func baseOf(d *shiplap.Domain) (string, error) {
	return filepath.Abs(filepath.Dir(filepath.Dir(filepath.Dir(d.Dir()))))
}
