package proc

import (
	"errors"
	"fmt"
	"os"

	"github.com/shiplap-ipc/shiplap/channel"
	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// DefaultChannelCapacity is what each direction of a process's channels gets that asks for nothing else, in bytes.
const DefaultChannelCapacity = 16 << 10

// Each process X has two channels, X-active and X-passive, for any messages that CBOR can carry. The manager has their sides A from Add to Remove
// or Close, so that messages wait for a process that is not there yet, or just being restarted. They go with their last user.
const (
	activeSuffix  = "-active"
	passiveSuffix = "-passive"
)

// ends are this side's ends of a process's channels; nil if it has none.
type ends struct{ active, passive *channel.Channel[any] }

func (p *process) makeChannels() error {
	if p.spec.ChannelCapacity < 0 {
		return nil
	}
	opt := channel.Options{Capacity: p.spec.ChannelCapacity, Ephemeral: true, Keep: true, Logger: p.m.log,
		Label: fmt.Sprintf("process %q of manager %q", p.spec.Name, p.m.name)}
	var err error
	for suffix, end := range map[string]**channel.Channel[any]{activeSuffix: &p.ends.active, passiveSuffix: &p.ends.passive} {
		c, e := channel.Set[any](p.m.d, p.spec.Name+suffix, &opt)
		if e == nil {
			*end = c
		}
		err = errors.Join(err, e)
	}
	if err == nil {
		return nil
	}
	_ = p.ends.close()
	err = fmt.Errorf("channels of process %q: %w", p.spec.Name, err)
	if errors.Is(err, errs.ErrExist) {
		err = fmt.Errorf("%w; another manager may have a process of that name: rename it, or do without channels (ChannelCapacity: -1)", err)
	}
	return err
}

func (e *ends) close() error {
	var err error
	for _, c := range []*channel.Channel[any]{e.active, e.passive} {
		if c != nil {
			err = errors.Join(err, c.Close())
		}
	}
	*e = ends{}
	return err
}

// Active is the manager's side of the channel X-active of process X. It stays the same when the process is restarted: what is
// sent meanwhile waits for it. The manager closes it.
// shiplap.ErrNotExist says that there is no such process, or that it has no channels.
func (m *Manager) Active(name string) (*channel.Channel[any], error) {
	return m.end(name, func(e ends) *channel.Channel[any] { return e.active })
}

// Passive is the manager's side of the channel X-passive: see Active.
func (m *Manager) Passive(name string) (*channel.Channel[any], error) {
	return m.end(name, func(e ends) *channel.Channel[any] { return e.passive })
}

func (m *Manager) end(name string, which func(ends) *channel.Channel[any]) (*channel.Channel[any], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.procs[name]
	if p == nil {
		return nil, m.unknown(name)
	}
	if m.closed {
		return nil, m.closedErr()
	}
	c := which(p.ends)
	if c == nil {
		return nil, fmt.Errorf("process %q has no channels, as its Spec says: %w", name, errs.ErrNotExist)
	}
	return c, nil
}

// Active is the process's active channel, whose other side is Manager.Active: by custom it is for Receive. It is the same at every call.
func (c *Child) Active() (*channel.Channel[any], error) { return c.end(&c.ends.active, EnvActive) }

// Passive is the process's passive channel, whose other side is Manager.Passive: by custom it is for OnReceive. It is the same at
// every call.
func (c *Child) Passive() (*channel.Channel[any], error) { return c.end(&c.ends.passive, EnvPassive) }

func (c *Child) end(which **channel.Channel[any], variable string) (*channel.Channel[any], error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *which != nil {
		return *which, nil
	}
	name := os.Getenv(variable)
	if name == "" {
		return nil, fmt.Errorf("%v has no channels ($%s is not set): %w", c, variable, errs.ErrNotExist)
	}
	e, err := channel.Get[any](c.domain, name, nil)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", c, err)
	}
	*which = e
	return e, nil
}
