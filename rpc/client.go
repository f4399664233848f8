package rpc

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/message"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/pipe"
)

// Client is a connection to a service. When the service is gone it stays so: dial again.
type Client struct {
	name  string
	opt   Options
	end   *pipe.End
	piece int

	sending chan struct{}  // holds one element while somebody sends
	wg      sync.WaitGroup // of drain and sendCancels

	mu      sync.Mutex
	slots   []*call // by the low half of a call's number
	free    []uint32
	serial  uint64
	n       uint64  // calls made
	open    int     // calls under way
	reading bool    // somebody reads
	waiters []*call // those who wait for somebody else who reads
	orphans int     // calls whose callers gave up and that are not answered yet
	cancels []uint64
	cancel  bool  // somebody sends cancels
	err     error // why nothing goes any more
	bye     bool

	buf []byte // of the one who reads

	bindMu sync.RWMutex
	bound  map[bindKey]any // *binding, or *untyped
}

// Dial connects to the service of that name. shiplap.ErrNotExist or shiplap.ErrPeerGone says that nobody serves it.
func Dial(ctx context.Context, d *shiplap.Domain, service string, opt *Options) (*Client, error) {
	c := &Client{name: service, opt: opt.filled(), sending: make(chan struct{}, 1), bound: map[bindKey]any{}}
	e, err := pipe.Dial(ctx, d, prefix+service, c.opt.pipe())
	if err != nil {
		return nil, fmt.Errorf("service %q: %w", service, err)
	}
	c.end, c.piece = e, pieces(e)
	return c, nil
}

// Close ends the connection. Calls under way end with shiplap.ErrClosed; their functions are cancelled.
func (c *Client) Close() error {
	c.mu.Lock()
	if errors.Is(c.err, errs.ErrClosed) {
		c.mu.Unlock()
		return c.err
	}
	c.failAll(fmt.Errorf("client of service %q: %w", c.name, errs.ErrClosed))
	c.mu.Unlock()
	err := c.end.Close()
	c.wg.Wait()
	if errors.Is(err, pipe.ErrUnread) { // the calls that were not received have ended with an error
		return nil
	}
	return err
}

// Service is the name of the service.
func (c *Client) Service() string { return c.name }

// String names the client's service.
func (c *Client) String() string { return fmt.Sprintf("client of service %q", c.name) }

// ClientStats is a client at one moment.
type ClientStats struct {
	Service string `json:"service"`
	Calls   uint64 `json:"calls"`  // made
	Open    int    `json:"open"`   // not answered yet
	GaveUp  int    `json:"gaveup"` // of those, whose callers do not wait any more
}

// String is one line for people.
func (s ClientStats) String() string {
	return fmt.Sprintf("client of service %q: %d calls, %d not answered", s.Service, s.Calls, s.Open)
}

// Stats looks at the client.
func (c *Client) Stats() ClientStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ClientStats{Service: c.name, Calls: c.n, Open: c.open, GaveUp: c.orphans}
}

type bindKey struct {
	method    string
	mode      string
	req, resp reflect.Type
}

// binding is a method as this client calls it.
type binding[Req, Resp any] struct {
	number uint32
	in     message.Coder[Req]
	out    message.Coder[Resp]
}

// Call calls a method of the service and waits for its reply. The first call of a method compares the types with those it
// was registered with: shiplap.ErrIncompatible shows both. An error that the function returned is an Error.
func Call[Req, Resp any](ctx context.Context, c *Client, method string, req Req) (resp Resp, err error) {
	b, err := bindTyped[Req, Resp](ctx, c, method)
	if err != nil {
		return resp, c.explain(method, err)
	}
	buf := buffers.Get().(*[]byte)
	msg, err := b.in.Append(startFrame(*buf), req)
	if err != nil {
		buffers.Put(buf)
		return resp, c.explain(method, err)
	}
	p, err := c.do(ctx, frame{kind: kindCall, method: b.number}, msg)
	keep(buf, msg)
	if err != nil {
		return resp, c.explain(method, err)
	}
	err = b.out.Decode(p.payload, &resp)
	c.release(p)
	if err != nil {
		return resp, c.explain(method, err)
	}
	return resp, nil
}

func (c *Client) explain(method string, err error) error {
	return fmt.Errorf("call of %q of service %q: %w", method, c.name, err)
}

func (c *Client) lookup(k bindKey) any {
	c.bindMu.RLock()
	defer c.bindMu.RUnlock()
	return c.bound[k]
}

func bindTyped[Req, Resp any](ctx context.Context, c *Client, method string) (*binding[Req, Resp], error) {
	k := bindKey{method, modeTyped, reflect.TypeFor[Req](), reflect.TypeFor[Resp]()}
	if b, ok := c.lookup(k).(*binding[Req, Resp]); ok {
		return b, nil
	}
	var b binding[Req, Resp]
	var err error
	if b.in, err = message.New[Req](c.opt.Codec); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	if b.out, err = message.New[Resp](c.opt.Codec); err != nil {
		return nil, fmt.Errorf("response: %w", err)
	}
	if b.number, err = c.bind(ctx, k, b.in.Desc.Text, b.out.Desc.Text); err != nil {
		return nil, err
	}
	c.remember(k, &b)
	return &b, nil
}

func (c *Client) remember(k bindKey, b any) {
	c.bindMu.Lock()
	defer c.bindMu.Unlock()
	c.bound[k] = b
}

func (c *Client) bind(ctx context.Context, k bindKey, req, resp string) (uint32, error) {
	msg := encode(nil, bindRequest{Version: version, Method: k.method, Request: req, Response: resp, Mode: k.mode})
	p, err := c.do(ctx, frame{kind: kindBind}, msg)
	if err != nil {
		return 0, err
	}
	defer c.release(p)
	if p.kind != kindBound {
		return 0, fmt.Errorf("%w: the service answered a bind by a frame of kind %d", errs.ErrCorrupt, p.kind)
	}
	return p.method, nil
}

// CallRaw is Call in bytes, without types: the request must be encoded as the method's type wants it, the reply is as its
// type is encoded. See Methods.
func (c *Client) CallRaw(ctx context.Context, method string, req []byte) ([]byte, error) {
	return c.untyped(ctx, method, modeRaw, req)
}

// CallJSON is Call with request and reply in JSON, whatever the types and their codec: the service converts. An empty
// request is null.
func (c *Client) CallJSON(ctx context.Context, method string, req []byte) ([]byte, error) {
	if len(req) == 0 {
		req = []byte("null")
	}
	return c.untyped(ctx, method, modeJSON, req)
}

type untyped struct{ number uint32 }

func (c *Client) untyped(ctx context.Context, method, mode string, req []byte) ([]byte, error) {
	k := bindKey{method: method, mode: mode}
	u, ok := c.lookup(k).(*untyped)
	if !ok {
		n, err := c.bind(ctx, k, "", "")
		if err != nil {
			return nil, c.explain(method, err)
		}
		u = &untyped{n}
		c.remember(k, u)
	}
	p, err := c.do(ctx, frame{kind: kindCall, method: u.number}, append(startFrame(nil), req...))
	if err != nil {
		return nil, c.explain(method, err)
	}
	defer c.release(p)
	return append([]byte{}, p.payload...), nil
}

// Methods lists the methods of the service.
func (c *Client) Methods(ctx context.Context) ([]Method, error) {
	b, err := c.CallJSON(ctx, methodList, []byte("{}"))
	if err != nil {
		return nil, err
	}
	var list []Method
	if err := schema.JSON.Decode(b, &list); err != nil {
		return nil, c.explain(methodList, err)
	}
	return list, nil
}

// remaining is what is left until the deadline, for the header of a call; 0 if there is none.
func remaining(ctx context.Context) uint64 {
	d, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return uint64(max(time.Until(d), 1))
}
