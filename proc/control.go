package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/pipe"
)

// controlSuffix is what stands behind the manager's name in that of its listener.
const controlSuffix = ".control"

// Over the pipe go messages in JSON: a request, then its reply. An unknown member is ignored, an unknown operation an error.

type request struct {
	ID     uint64         `json:"id"`
	Op     string         `json:"op"`              // "states", "start", "stop", "restart", "signal"
	Names  []string       `json:"names,omitempty"` // none: all of them; not so for "signal"
	Signal syscall.Signal `json:"signal,omitempty"`
}

type reply struct {
	ID     uint64  `json:"id"`
	States []State `json:"states,omitempty"` // of all, after the operation
	Error  string  `json:"error,omitempty"`
	Kind   string  `json:"kind,omitempty"` // of the error
}

var errorKinds = []struct {
	kind string
	err  error
}{
	{"failed", ErrFailed}, {"not-exist", errs.ErrNotExist}, {"exist", errs.ErrExist}, {"closed", errs.ErrClosed}, {"busy", errs.ErrBusy},
	{"conflict", errs.ErrConflict}, {"too-large", errs.ErrTooLarge},
}

// control is where a manager listens.
type control struct {
	wg sync.WaitGroup

	mu  sync.Mutex
	l   *pipe.Listener
	err error // why there is none that works
}

func (m *Manager) listen() error {
	l, err := m.newListener()
	if err != nil {
		return err
	}
	m.ctl = &control{l: l}
	m.ctl.wg.Go(func() { m.hear(l) })
	return nil
}

func (m *Manager) newListener() (*pipe.Listener, error) {
	l, err := pipe.Listen(m.d, m.name+controlSuffix, &pipe.Options{
		Wait: shiplap.WaitSleep, Logger: m.log, MaxReceive: maxRequest})
	if err != nil {
		return nil, fmt.Errorf("process manager %q: %w", m.name, err)
	}
	return l, nil
}

// hear takes orders until the manager closes.
func (m *Manager) hear(l *pipe.Listener) {
	for l != nil {
		e, err := l.AcceptEnd(m.ctx)
		if err == nil {
			m.ctl.wg.Go(func() { m.serve(e) })
			continue
		}
		if l.Err() == nil {
			return
		}
		l = m.relisten(l.Err())
	}
}

const relistenPause = time.Second

// relisten makes another listener after the memory of one was damaged or removed: a manager that nobody
// can talk to could not be told to stop its processes. It is nil if the manager closes.
func (m *Manager) relisten(why error) *pipe.Listener {
	for {
		m.ctl.set(nil, why)
		l, err := m.newListener()
		if err == nil {
			m.ctl.set(l, nil)
			return l
		}
		if why.Error() != err.Error() {
			m.log.Error("orders from outside are not heard", "manager", m.name, "err", err)
			why = err
		}
		select {
		case <-m.ctx.Done():
			return nil
		case <-time.After(relistenPause):
		}
	}
}

func (c *control) set(l *pipe.Listener, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.l, c.err = l, err
}

// Err is why the manager hears no orders from outside at this moment: the memory of its listener was
// damaged or removed, and it cannot make another one. It tries again. Err is nil for a manager that is
// Private.
func (m *Manager) Err() error {
	if m.ctl == nil {
		return nil
	}
	m.ctl.mu.Lock()
	defer m.ctl.mu.Unlock()
	return m.ctl.err
}

// close ends listening, after the end of the manager's context.
func (c *control) close() error {
	c.wg.Wait()
	if c.l == nil {
		return nil
	}
	if err := c.l.Close(); c.l.Err() == nil {
		return err
	}
	return nil // it closed before, and said why
}

// serve answers one caller, and waits for what that wants as long as the caller is there.
func (m *Manager) serve(e *pipe.End) {
	defer e.Close()
	ctx, gone := context.WithCancel(m.ctx)
	defer gone()
	orders := make(chan []byte)
	m.ctl.wg.Go(func() {
		defer close(orders)
		defer gone()
		for {
			b, err := e.Recv(ctx, nil)
			if err != nil {
				return
			}
			select {
			case orders <- b:
			case <-ctx.Done():
				return
			}
		}
	})
	for b := range orders {
		answer, err := json.Marshal(m.answer(ctx, b))
		if err != nil || len(answer) > e.MaxMessage() {
			answer = []byte(`{"kind":"too-large","error":"the states of all processes are too long for one message"}`)
		}
		if e.Send(ctx, answer) != nil {
			return
		}
	}
}

func (m *Manager) answer(ctx context.Context, b []byte) reply {
	r, err := parseRequest(b)
	if err == nil {
		err = m.do(ctx, r)
	}
	a := reply{ID: r.ID, States: m.States()}
	if err != nil {
		a.Error = err.Error()
		for _, k := range errorKinds {
			if errors.Is(err, k.err) {
				a.Kind = k.kind
				break
			}
		}
	}
	return a
}

const (
	maxRequest      = 4 << 20 // bytes; the caller makes the pipe, of any size
	maxRequestNames = 10000
)

func parseRequest(b []byte) (r request, err error) {
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("an order that is no JSON object: %w", err)
	}
	switch {
	case !slices.Contains([]string{"states", "start", "stop", "restart", "signal"}, r.Op):
		return r, fmt.Errorf("operation %.40q: states, start, stop, restart or signal is wanted", r.Op)
	case len(r.Names) > maxRequestNames:
		return r, fmt.Errorf("%d names: %w", len(r.Names), errs.ErrTooLarge)
	case r.Op == "signal" && (len(r.Names) == 0 || r.Signal < 1 || r.Signal > 64):
		return r, fmt.Errorf("signal %d to %d processes: 1 to 64, and at least one, are wanted", int(r.Signal), len(r.Names))
	}
	return r, nil
}

func (m *Manager) do(ctx context.Context, r request) error {
	switch r.Op {
	case "start":
		return m.start(ctx, r.Names)
	case "stop":
		if len(r.Names) == 0 {
			return m.StopAll(ctx)
		}
		return m.Stop(ctx, r.Names...)
	case "restart":
		return m.Restart(ctx, r.Names...)
	case "signal":
		var all []error
		for _, name := range r.Names {
			all = append(all, m.Signal(name, r.Signal))
		}
		return errors.Join(all...)
	}
	return nil
}

// Managers lists the managers of living processes in a domain.
func Managers(d *shiplap.Domain) ([]string, error) {
	all, err := d.List()
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, o := range all {
		if name, ok := strings.CutSuffix(o.Name, controlSuffix); ok && o.Kind == "listener" && len(o.Users) > 0 && !o.Removed {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Client talks with a manager, mostly one of another process. All methods may be called concurrently; they take turns.
type Client struct {
	name string
	end  *pipe.End
	turn chan struct{}
	last uint64
	b    []byte
}

// Dial connects to the manager of that name ("" is DefaultName). shiplap.ErrNotExist says that none
// runs.
func Dial(ctx context.Context, d *shiplap.Domain, manager string) (*Client, error) {
	set(&manager, DefaultName)
	e, err := pipe.Dial(ctx, d, manager+controlSuffix, &pipe.Options{Ephemeral: true, Label: "orders to a process manager", Wait: shiplap.WaitSleep})
	if errors.Is(err, errs.ErrNotExist) || errors.Is(err, errs.ErrPeerGone) {
		running, _ := Managers(d)
		return nil, fmt.Errorf("no process manager %q runs in %v, where are %q: %w", manager, d, running, errs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("process manager %q: %w", manager, err)
	}
	return &Client{name: manager, end: e, turn: make(chan struct{}, 1)}, nil
}

// Name is the name of the manager.
func (c *Client) Name() string { return c.name }

// String names the connection.
func (c *Client) String() string { return fmt.Sprintf("connection to process manager %q", c.name) }

// States looks at all processes of the manager.
func (c *Client) States(ctx context.Context) ([]State, error) {
	return c.call(ctx, request{Op: "states"})
}

// Start is as Manager.Start; without names it is StartAll. Like the others it returns what all processes are like afterwards.
// When the context ends, only the waiting does.
func (c *Client) Start(ctx context.Context, names ...string) ([]State, error) {
	return c.call(ctx, request{Op: "start", Names: names})
}

// Stop is as Manager.Stop; without names it is StopAll.
func (c *Client) Stop(ctx context.Context, names ...string) ([]State, error) {
	return c.call(ctx, request{Op: "stop", Names: names})
}

// Restart is as Manager.Restart.
func (c *Client) Restart(ctx context.Context, names ...string) ([]State, error) {
	return c.call(ctx, request{Op: "restart", Names: names})
}

// Signal is as Manager.Signal.
func (c *Client) Signal(ctx context.Context, s syscall.Signal, names ...string) ([]State, error) {
	return c.call(ctx, request{Op: "signal", Names: names, Signal: s})
}

// Close closes the connection. What the manager was told to do it does.
func (c *Client) Close() error {
	if err := c.end.Close(); !errors.Is(err, pipe.ErrUnread) { // an order that was not heard has ended with an error
		return err
	}
	return nil
}

func (c *Client) call(ctx context.Context, r request) ([]State, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	c.last++
	r.ID = c.last
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	gone := func(err error) error {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("it ended before it answered: %w", errs.ErrPeerGone)
		}
		return fmt.Errorf("process manager %q: %w", c.name, err)
	}
	if err := c.end.Send(ctx, b); err != nil {
		return nil, gone(err)
	}
	for {
		if c.b, err = c.end.Recv(ctx, c.b[:0]); err != nil {
			return nil, gone(err)
		}
		var a reply
		if err := json.Unmarshal(c.b, &a); err != nil {
			return nil, fmt.Errorf("process manager %q answers what is no JSON: %w", c.name, errors.Join(errs.ErrCorrupt, err))
		}
		if a.ID == r.ID || a.ID == 0 { // else it is the answer to a call that was given up
			return a.States, a.err(c.name)
		}
	}
}

// remote is an error of the manager's side.
type remote struct {
	text string
	kind error
}

func (e *remote) Error() string { return e.text }
func (e *remote) Unwrap() error { return e.kind }

func (a reply) err(name string) error {
	if a.Error == "" {
		return nil
	}
	e := &remote{text: a.Error}
	for _, k := range errorKinds {
		if k.kind == a.Kind {
			e.kind = k.err
		}
	}
	return fmt.Errorf("process manager %q: %w", name, e)
}
