package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// probe tries until it succeeds; the error says what the last attempt said.
func (p *process) probe(ctx context.Context, g *guard) error {
	tick := time.NewTicker(p.spec.ProbeInterval)
	defer tick.Stop()
	var last error
	for {
		err := p.attempt(ctx, g)
		if ctx.Err() != nil && last != nil {
			return last // this one was cut short
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		last = err
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

var errProbe = errors.New("probe")

// attempt does not outlast its time, whatever the probe does.
func (p *process) attempt(ctx context.Context, g *guard) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.spec.ProbeTimeout, fmt.Errorf("%w: nothing within %v", errProbe, p.spec.ProbeTimeout))
	defer cancel()
	if len(p.spec.ProbeCommand) > 0 {
		return p.runProbe(ctx, g)
	}
	select {
	case p.probing <- struct{}{}:
	case <-ctx.Done(): // an earlier one is still inside
		return context.Cause(ctx)
	}
	result := make(chan error, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				result <- fmt.Errorf("%w: panic: %v", errProbe, v)
			}
			<-p.probing
		}()
		result <- p.spec.Probe(ctx)
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	select { // one that obeys its context says best what it waited for
	case err := <-result:
		return err
	case <-time.After(probeGrace):
		return context.Cause(ctx)
	}
}

// probeGrace is for a probe whose context ended.
const probeGrace = 10 * time.Millisecond

// runProbe has the guardian start the command, so that it ends with the manager.
func (p *process) runProbe(ctx context.Context, g *guard) error {
	o, err := p.order(p.spec.ProbeCommand)
	if err != nil {
		return fmt.Errorf("%w: %w", errProbe, err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	l, err := g.start(ctx, o, int(null.Fd()), int(null.Fd()))
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errProbe, o.Path, err)
	}
	select {
	case <-l.exited:
	case <-ctx.Done():
		l.signal(orderSignal, syscall.SIGKILL)
		<-l.exited
	}
	select {
	case <-l.gone:
	case <-time.After(groupPatience):
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !l.exit.OK() {
		return fmt.Errorf("%w: %v", errProbe, l.exit)
	}
	return nil
}
