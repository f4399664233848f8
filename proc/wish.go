package proc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// wish is what somebody wants of processes: to start, to stop, or both. When its context ends, only the waiting for it
// does. What is left to do is done all the same, to those of the processes of which nobody has wanted anything since.
type wish struct {
	m       *Manager
	ctx     context.Context
	all     []*process
	tickets map[*process]uint64
}

func (m *Manager) wish(ctx context.Context, all []*process) *wish {
	w := &wish{m, ctx, all, make(map[*process]uint64, len(all))}
	for _, p := range all {
		w.tickets[p] = p.wanted()
	}
	return w
}

// wanted counts the wishes.
func (p *process) wanted() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wishes++
	return p.wishes
}

// stands reports whether it still is to be done to a process.
func (w *wish) stands(p *process) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return w.ctx.Err() == nil || p.wishes == w.tickets[p]
}

// await runs f, which goes on when the context ends.
func (w *wish) await(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-w.ctx.Done():
		return w.givenUp()
	}
}

func (w *wish) givenUp() error {
	names := make([]string, len(w.all))
	for i, p := range w.all {
		names[i] = p.spec.Name
	}
	return fmt.Errorf("waiting for processes %q: %w", names, context.Cause(w.ctx))
}

// launch starts processes that stand in order. Those not in the plan are not waited for.
func (w *wish) launch(again bool) ([]*keeper, error) {
	m := w.m
	m.mu.Lock()
	closed := m.closed || m.killed
	m.mu.Unlock()
	if closed {
		return nil, m.closedErr()
	}
	keepers := make([]*keeper, len(w.all))
	var overtaken error
	for i, p := range w.all {
		var deps []*process
		for _, d := range w.all[:i] {
			if slices.Contains(p.spec.After, d.spec.Name) {
				deps = append(deps, d)
			}
		}
		for {
			if !w.stands(p) {
				overtaken = w.givenUp()
				break
			}
			k, err := p.launch(deps, again)
			if errors.Is(err, errs.ErrBusy) { // on its way to rest
				<-p.halt()
				continue
			}
			if err != nil {
				return nil, err
			}
			keepers[i] = k
			break
		}
	}
	return keepers, overtaken
}

// stop stops processes and waits until they are at rest, each when those that start after it are.
func (w *wish) stop() {
	all := inOrder(w.all)
	done := make([]chan struct{}, len(all))
	for i := range all {
		done[i] = make(chan struct{})
	}
	var wg sync.WaitGroup
	for i, p := range all {
		wg.Go(func() {
			defer close(done[i])
			for j, later := range all {
				if j > i && slices.Contains(later.spec.After, p.spec.Name) {
					<-done[j]
				}
			}
			if w.stands(p) {
				<-p.halt()
			}
		})
	}
	wg.Wait()
}

// inOrder has each process behind those that it starts after. In a circle, which never ran, one is the first.
func inOrder(all []*process) (order []*process) {
	byName := map[string]*process{}
	for _, p := range all {
		byName[p.spec.Name] = p
	}
	met := map[*process]bool{}
	var visit func(p *process)
	visit = func(p *process) {
		if met[p] {
			return
		}
		met[p] = true
		for _, name := range p.spec.After {
			if d := byName[name]; d != nil {
				visit(d)
			}
		}
		order = append(order, p)
	}
	for _, p := range all {
		visit(p)
	}
	return order
}
