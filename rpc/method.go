package rpc

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/message"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

// Method is a method as seen from outside: its name, and the descriptors of its types.
type Method struct {
	Name     string `json:"name"`
	Request  string `json:"request"`
	Response string `json:"response"`
}

// method is a registered function.
type method struct {
	Method
	call func(ctx context.Context, mode string, req, dst []byte) ([]byte, error) // appends the reply to dst
	n    atomic.Uint32
	cost atomic.Int64 // ns that it takes, as learned
}

const (
	quick     = 20 * time.Microsecond // functions that take less are run by the goroutine that reads
	sample    = 32                    // one of so many of these is measured
	firstFew  = 8
	watchTick = time.Millisecond
)

// learn takes note of how long the function took.
func (m *method) learn(d time.Duration) {
	old := m.cost.Load()
	m.cost.Store(old + (int64(d)-old)/8)
}

func (m *method) slow() bool { return m.cost.Load() > int64(quick) }

// measured reports whether this call is to be measured.
func (m *method) measured() bool {
	n := m.n.Add(1)
	return n <= firstFew || n%sample == 0
}

// Handle registers a function as a method of the service. Its context ends with the caller's deadline, when the caller
// cancels or dies, and when the service closes. An error that it returns goes to the caller, see Error; a panic is logged, and
// goes there too. shiplap.ErrExist when there is a method of that name.
func Handle[Req, Resp any](s *Server, name string, f func(ctx context.Context, req Req) (Resp, error)) error {
	fail := func(err error) error { return fmt.Errorf("method %q of service %q: %w", name, s.name, err) }
	if err := checkMethod(name); err != nil {
		return fail(err)
	}
	if len(name) >= len(reserved) && name[:len(reserved)] == reserved {
		return fail(fmt.Errorf("%w: names that begin with %q are taken", errs.ErrName, reserved))
	}
	if err := handle(s, name, f); err != nil {
		return fail(err)
	}
	return nil
}

func handle[Req, Resp any](s *Server, name string, f func(ctx context.Context, req Req) (Resp, error)) error {
	in, err := message.New[Req](s.opt.Codec)
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	out, err := message.New[Resp](s.opt.Codec)
	if err != nil {
		return fmt.Errorf("response: %w", err)
	}
	m := &method{Method: Method{Name: name, Request: in.Desc.Text, Response: out.Desc.Text}}
	m.call = func(ctx context.Context, mode string, b, dst []byte) ([]byte, error) {
		var req Req
		err := error(nil)
		if mode == modeJSON {
			err = schema.JSON.Decode(b, &req)
		} else {
			err = in.Decode(b, &req)
		}
		if err != nil {
			return nil, &Error{Code: CodeInvalid, Message: fmt.Sprintf("the request does not fit method %q, which takes %s: %v", name, in.Desc.Text, withoutKind(err))}
		}
		resp, err := f(ctx, req)
		if err != nil {
			return nil, err
		}
		if mode == modeJSON {
			dst, err = schema.JSON.Append(dst, resp)
		} else {
			dst, err = out.Append(dst, resp)
		}
		if err != nil {
			return nil, &Error{Code: CodeReply, Message: err.Error()}
		}
		return dst, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.methods[name] != nil {
		return fmt.Errorf("%w: it is registered", errs.ErrExist)
	}
	s.methods[name] = m
	return nil
}

// withoutKind is the text of an error of decoding: it is the caller's mistake, not this side's memory that is corrupt.
func withoutKind(err error) string {
	text := strings.TrimPrefix(err.Error(), errs.ErrCorrupt.Error()+": ")
	return strings.TrimPrefix(text, errs.ErrIncompatible.Error()+": ")
}

// run calls the function; a panic becomes an error.
func (s *Server) run(c *served, dst []byte) (b []byte, err error) {
	done := false
	defer func() {
		if done {
			return
		}
		r := recover()
		s.panics.Add(1)
		if r == nil { // runtime.Goexit: nothing after this function runs in this goroutine
			go c.c.abandoned(c)
			return
		}
		s.opt.log().Error("a function of a service panicked", "service", s.name, "method", c.bound.m.Name, "panic", r, "stack", string(debug.Stack()))
		err = &Error{Code: CodePanic, Message: fmt.Sprintf("method %q panicked: %v", c.bound.m.Name, r)}
	}()
	b, err = c.bound.m.call(c, c.bound.mode, c.payload, dst)
	done = true
	return b, err
}
