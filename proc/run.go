package proc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"time"
)

// keep looks after the process until it is at rest.
func (p *process) keep(k *keeper, deps []*process) {
	phase, problem := p.lives(k, deps)
	kind := map[Phase]EventKind{Stopped: EventStopped, Done: EventDone, Failed: EventFailed}[phase]
	k.stop()
	e := Event{Process: p.spec.Name, Kind: kind}
	if problem != nil {
		e.Problem = problem.Error()
	}
	p.set(func(s *State) { s.Phase, s.Next, s.Problem = phase, time.Time{}, e.Problem })
	p.m.emit(e)
	p.mu.Lock() // who waits is told when everything is done
	defer p.mu.Unlock()
	if problem != nil && !k.ready && k.problem == nil {
		k.problem = problem
	}
	p.keeper = nil
	p.setLocked(func(*State) {})
	close(k.done)
}

// lives is one life after the other. It returns how the process comes to rest.
func (p *process) lives(k *keeper, deps []*process) (Phase, error) {
	m, name := p.m, p.spec.Name
	for _, d := range deps {
		if err := p.awaitDependency(k, d); err != nil {
			if k.ctx.Err() != nil {
				return Stopped, nil
			}
			return Failed, err
		}
	}
	var restarts []time.Time
	restart := k.again
	for {
		if k.ctx.Err() != nil {
			return Stopped, nil
		}
		m.runHooks(&m.hooks.beforeStart, name)
		exit := p.live(k, restart)
		if k.ctx.Err() != nil {
			return Stopped, nil
		}
		phase, problem := Done, error(nil)
		if !exit.OK() {
			phase, problem = Failed, exit.Err()
		}
		if restart = p.spec.Restart == Always || p.spec.Restart == OnFailure && !exit.OK(); !restart {
			return phase, problem
		}
		now := time.Now()
		restarts = slices.DeleteFunc(restarts, func(t time.Time) bool { return now.Sub(t) > p.spec.Window })
		if most := p.spec.MaxRestarts; most > 0 && len(restarts) >= most {
			return Failed, fmt.Errorf("%w: %d restarts in %v were no use: %v", ErrFailed, most, p.spec.Window, exit)
		}
		restarts = append(restarts, now)
		if !p.pause(k, exit, problem) {
			return Stopped, nil
		}
		m.runHooks(&m.hooks.beforeRestart, name)
	}
}

// pause waits out the back-off; false says that it was told to stop.
func (p *process) pause(k *keeper, exit Exit, problem error) bool {
	inARow := p.state().InARow + 1
	if exit.Ran >= p.spec.Backoff.Reset {
		inARow = 1
	}
	delay := p.spec.Backoff.delay(inARow, rand.Float64())
	p.mu.Lock()
	if k.problem == nil && !k.ready && problem != nil {
		k.problem = fmt.Errorf("%w; it is restarted in %v", problem, delay.Round(time.Millisecond))
	}
	select { // whoever wanted it to start at once meant an earlier pause
	case <-k.now:
	default:
	}
	p.setLocked(func(s *State) {
		s.Phase, s.Next, s.InARow = Pausing, time.Now().Add(delay), inARow
	})
	p.mu.Unlock()
	p.m.emit(Event{Process: p.spec.Name, Kind: EventRestarting, Delay: delay})
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-k.ctx.Done():
		return false
	case <-k.now:
	case <-t.C:
	}
	p.set(func(s *State) { s.Restarts++; s.Next = time.Time{} })
	return true
}

func (p *process) awaitDependency(k *keeper, d *process) error {
	var last State
	err := d.await(k.ctx, func(s State, _ *keeper) bool {
		last = s
		return s.Phase == Running || s.Phase.AtRest()
	})
	if err == nil && last.Phase != Running && last.Phase != Done {
		err = fmt.Errorf("%w: it starts after %q, which is %s", ErrFailed, d.spec.Name, last.Phase)
		if last.Problem != "" {
			err = fmt.Errorf("%w: %s", err, last.Problem)
		}
	}
	return err
}

// ended tells that the process ended.
func (p *process) ended(e Exit) {
	m := p.m
	p.set(func(s *State) { s.Pid, s.Last = 0, &e })
	m.emit(Event{Process: p.spec.Name, Kind: EventExited, Pid: e.Pid, Exit: &e})
	if e.Wanted || e.OK() && p.spec.Restart != Always {
		return
	}
	m.mu.Lock()
	all := m.hooks.unexpected
	m.mu.Unlock()
	for _, f := range all {
		m.safely(func() { f(p.spec.Name, e) })
	}
}

// begin starts a life. It is no fault of the process when the guardian ends meanwhile.
func (p *process) begin(ctx context.Context) (*guard, *life, *output, error) {
	for try := 1; ; try++ {
		g, err := p.m.guarded()
		if err != nil {
			return nil, nil, nil, err
		}
		l, out, err := p.start(ctx, g)
		if errors.Is(err, errGuardianLost) && try < guardianTries {
			select {
			case <-g.done:
				continue
			case <-ctx.Done():
			}
		}
		return g, l, out, err
	}
}

const guardianTries = 3

// live is one life, from start to the end of its whole group.
func (p *process) live(k *keeper, restart bool) Exit {
	m, name := p.m, p.spec.Name
	g, l, out, err := p.begin(k.ctx)
	if err != nil {
		e := Exit{Code: -1, At: time.Now(), Problem: err.Error(), Wanted: k.ctx.Err() != nil}
		p.set(func(s *State) { s.Phase = Starting })
		p.ended(e)
		return e
	}
	p.mu.Lock()
	p.life = l
	p.setLocked(func(s *State) { s.Phase, s.Pid, s.Started = Starting, l.pid, l.started })
	p.mu.Unlock()
	m.emit(Event{Process: name, Kind: EventStarting, Pid: l.pid})

	var problem string
	if err := p.awaitReady(k, g, l, out); err == nil {
		p.set(func(s *State) { s.Phase = Running })
		m.emit(Event{Process: name, Kind: EventReady, Pid: l.pid})
		m.runHooks(&m.hooks.afterStart, name)
		if restart {
			m.runHooks(&m.hooks.afterRestart, name)
		}
		p.set(func(*State) { k.ready = true }) // who waits for the start goes on when the hooks are through
		select {
		case <-l.exited:
		case <-k.ctx.Done():
		}
	} else if errors.Is(err, errNotReady) {
		problem = err.Error()
	}
	e := p.finish(k, l, problem)
	out.close()
	return e
}

// finish waits for the end of a life, or makes it end.
func (p *process) finish(k *keeper, l *life, problem string) Exit {
	m, name := p.m, p.spec.Name
	select {
	case <-l.exited:
		p.record(l, "", false, false) // seen at once, whatever its group does
		p.awaitGroup(l, 0)
		return l.exit
	default:
	}
	wanted := k.ctx.Err() != nil
	if wanted {
		m.runHooks(&m.hooks.beforeShutdown, name)
	}
	p.set(func(s *State) { s.Phase = Stopping })
	m.emit(Event{Process: name, Kind: EventStopping, Pid: l.pid, Problem: problem})
	forced := make(chan struct{})
	force := time.AfterFunc(max(p.spec.StopTimeout, 0), func() {
		close(forced)
		l.signal(orderSignal, syscall.SIGKILL)
	})
	defer force.Stop()
	if p.spec.StopTimeout > 0 {
		l.signal(orderStop, p.spec.StopSignal)
	}
	<-l.exited
	select {
	case <-forced:
		p.record(l, problem, wanted, p.spec.StopTimeout > 0)
	default:
		p.record(l, problem, wanted, false)
	}
	p.awaitGroup(l, p.spec.StopTimeout)
	if wanted {
		m.runHooks(&m.hooks.afterShutdown, name)
	}
	return l.exit
}

func (p *process) record(l *life, problem string, wanted, forced bool) {
	l.exit.Problem, l.exit.Wanted, l.exit.Forced = problem, wanted, forced
	p.ended(l.exit)
}

// groupPatience is how long a group may take to end that got SIGKILL.
const groupPatience = 5 * time.Second

// awaitGroup waits until nobody of the group is left. It was killed, or will be when its time is over.
func (p *process) awaitGroup(l *life, ends time.Duration) {
	t := time.NewTimer(max(ends, 0) + groupPatience)
	defer t.Stop()
	select {
	case <-l.gone:
	case <-t.C: // in the kernel for long, or with other rights
		p.m.log.Warn("a process ended, but somebody of its group does not", "manager", p.m.name, "process", p.spec.Name, "group", l.pid)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.life = nil
}

var errNotReady = errors.New("not ready")

// awaitReady returns nil when the process is ready, errNotReady when its time is over, another error when it ended or is to.
func (p *process) awaitReady(k *keeper, g *guard, l *life, out *output) error {
	if p.spec.Ready == ReadyAtStart {
		return nil
	}
	ctx := k.ctx
	if t := p.spec.ReadyTimeout; t > 0 {
		c, cancel := context.WithTimeoutCause(ctx, t, fmt.Errorf("%w within %v", errNotReady, t))
		defer cancel()
		ctx = c
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		select {
		case <-l.exited:
			cancel(os.ErrProcessDone)
		case <-ctx.Done():
		}
	}()
	defer func() { cancel(nil); <-stop }()
	switch p.spec.Ready {
	case ReadyExit:
		<-ctx.Done()
	case ReadyProbe:
		err := p.probe(ctx, g)
		if ctx.Err() == nil {
			return nil
		}
		if err != nil && errors.Is(context.Cause(ctx), errNotReady) {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	case ReadyWord:
		if out.awaitWord(ctx) {
			return nil
		}
		<-ctx.Done() // the descriptor was closed without a word
	}
	return context.Cause(ctx)
}
