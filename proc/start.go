package proc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Start starts processes, and those that they start after, and waits until all of them are ready (jobs: until they
// succeeded). Those that run already are left alone; one in back-off is started now. An error says which could not be
// started, or failed before it was ready: its policy may start it again all the same. When the context ends, only the waiting does.
func (m *Manager) Start(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	return m.start(ctx, names)
}

// StartAll starts all processes: see Start.
func (m *Manager) StartAll(ctx context.Context) error { return m.start(ctx, nil) }

func (m *Manager) start(ctx context.Context, names []string) error {
	wanted, err := m.some(names)
	if err != nil {
		return err
	}
	plan, err := m.plan(wanted)
	if err != nil {
		return err
	}
	w := m.wish(ctx, plan)
	return w.ready(func() ([]*keeper, error) { return w.launch(false) })
}

// ready waits until processes are that launch starts.
func (w *wish) ready(launch func() ([]*keeper, error)) error {
	var keepers []*keeper
	err := w.await(func() (err error) {
		keepers, err = launch()
		return err
	})
	if err != nil {
		return err
	}
	return w.m.awaitStart(w.ctx, w.all, keepers)
}

// awaitStart waits until processes are ready that were launched.
func (m *Manager) awaitStart(ctx context.Context, plan []*process, keepers []*keeper) error {
	for i, p := range plan {
		k := keepers[i]
		var problem error
		var stopped bool
		err := p.await(ctx, func(s State, now *keeper) bool {
			told := k.ready || k.problem != nil
			if !told && now == nil && p.coming > 0 {
				return false // stopped by Restart, which starts it again
			}
			if !told && now != nil && now != k { // it did
				k, told = now, now.ready || now.problem != nil
			}
			problem, stopped = k.problem, now != k && !k.ready && s.Phase == Stopped
			return told || now != k
		})
		if err != nil {
			return err
		}
		if problem != nil {
			return fmt.Errorf("process %q: %w", p.spec.Name, problem)
		}
		if stopped {
			return fmt.Errorf("process %q was stopped before it was ready: %w", p.spec.Name, errs.ErrClosed)
		}
	}
	return nil
}

// plan is wanted and everything they start after, in an order in which they can be started.
func (m *Manager) plan(wanted []*process) (plan []*process, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var path []string
	var visit func(p *process) error
	visit = func(p *process) error {
		if slices.Contains(plan, p) {
			return nil
		}
		if i := slices.Index(path, p.spec.Name); i >= 0 {
			return fmt.Errorf("processes start after each other: %s: %w", strings.Join(append(path[i:], p.spec.Name), " after "), errs.ErrConflict)
		}
		path = append(path, p.spec.Name)
		for _, name := range p.spec.After {
			d := m.procs[name]
			if d == nil {
				return fmt.Errorf("process %q starts after another one: %w", p.spec.Name, m.unknown(name))
			}
			if err := visit(d); err != nil {
				return err
			}
		}
		path = path[:len(path)-1]
		plan = append(plan, p)
		return nil
	}
	for _, p := range wanted {
		if err := visit(p); err != nil {
			return nil, err
		}
	}
	return plan, nil
}

// Stop asks processes to stop, kills what does not in time, and waits until they are at rest. Each is stopped when those of
// them that start after it are; processes that were not named go on. When the context ends, only the waiting does.
func (m *Manager) Stop(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	all, err := m.some(names)
	if err != nil {
		return err
	}
	return m.stop(ctx, all)
}

// StopAll stops all processes, those first that started last: see Stop.
func (m *Manager) StopAll(ctx context.Context) error {
	all, err := m.some(nil)
	if err != nil {
		return err
	}
	return m.stop(ctx, all)
}

func (m *Manager) stop(ctx context.Context, all []*process) error {
	w := m.wish(ctx, all)
	return w.await(func() error {
		w.stop()
		return nil
	})
}

// Restart stops processes, or all if none are named, and starts them again: see Stop and Start. Those that do not run are
// started.
func (m *Manager) Restart(ctx context.Context, names ...string) error {
	all, err := m.some(names)
	if err != nil {
		return err
	}
	plan, err := m.plan(all)
	if err != nil {
		return err
	}
	plan = slices.DeleteFunc(plan, func(p *process) bool { return !slices.Contains(all, p) })
	for _, p := range plan {
		m.runHooks(&m.hooks.beforeRestart, p.spec.Name)
	}
	for _, p := range plan {
		p.expect(1)
	}
	w := m.wish(ctx, plan)
	return w.ready(func() ([]*keeper, error) {
		w.stop()
		keepers, err := w.launch(true)
		for _, p := range plan {
			p.expect(-1)
		}
		return keepers, err
	})
}

// Wait waits until processes, or all if none are named, are at rest. The error is of those that failed.
func (m *Manager) Wait(ctx context.Context, names ...string) error {
	all, err := m.some(names)
	if err != nil {
		return err
	}
	var problems []error
	for _, p := range all {
		var last State
		if err := p.await(ctx, func(s State, k *keeper) bool { last = s; return k == nil }); err != nil {
			return err
		}
		if last.Phase == Failed {
			problems = append(problems, fmt.Errorf("process %q: %w", p.spec.Name, failure(last)))
		}
	}
	return errors.Join(problems...)
}

// failure is the problem of a failed process as an ErrFailed.
func failure(s State) error {
	return fmt.Errorf("%w%s", ErrFailed, strings.TrimPrefix(": "+s.Problem, ": "+ErrFailed.Error()))
}
