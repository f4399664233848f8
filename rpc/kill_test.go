package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/rpc"
)

// A victim is a caller, or a process that starts to serve: what it does to shared memory, it does through package pipe, whose
// scenarios cover sending and receiving. The functions of a service run in goroutines that the harness does not step
// through.

// world is what the survivors have: a service "s" and a client of it, or neither.
type world struct {
	d *shiplap.Domain
	v *service
	s *rpc.Server
	c *rpc.Client
}

func (w *world) Close() error {
	if w.c != nil {
		w.c.Close()
	}
	if w.s != nil {
		w.s.Close()
	}
	return w.d.Close()
}

func joinAt(dir string) (*shiplap.Domain, error) {
	return shiplap.Join("", &shiplap.Options{Dir: dir, NoSweep: true})
}

func nobody(t *killtest.Trial) (any, error) {
	d, err := joinAt(t.Dir)
	return &world{d: d, v: &service{}}, err
}

var narrow = &rpc.Options{Capacity: 4096}

func (w *world) serve() (err error) {
	if w.s, err = rpc.Serve(bg, w.d, "s", &rpc.Options{Setup: w.v.setup}); err != nil {
		return err
	}
	w.c, err = rpc.Dial(bg, w.d, "s", narrow)
	return err
}

func serving(t *killtest.Trial) (any, error) {
	state, err := nobody(t)
	if err != nil {
		return nil, err
	}
	w := state.(*world)
	if err := w.serve(); err != nil {
		w.Close()
		return nil, err
	}
	return w, w.works()
}

func (w *world) works() error {
	return killtest.Promptly("call", func(ctx context.Context) error {
		n, err := rpc.Call[pair, int64](ctx, w.c, "add", pair{1, 2})
		if err == nil && n != 3 {
			err = fmt.Errorf("1 + 2 = %d", n)
		}
		return err
	})
}

// beside: a caller that stands still keeps nobody else.
func beside(_ *killtest.Trial, state any) error { return state.(*world).works() }

// alone: the service works, and nothing is left of the caller.
func alone(_ *killtest.Trial, state any) error {
	w := state.(*world)
	if err := w.works(); err != nil {
		return err
	}
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		st := w.s.Stats()
		if st.Connections == 1 && st.Running == 0 && w.v.running.Load() == 0 {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("what is left of the caller: %+v, %d functions", st, w.v.running.Load())
		}
	}
	if err := errors.Join(w.c.Close(), w.s.Close()); err != nil {
		return err
	}
	return tidy(w.d)
}

// successor: the name is free, and can be served.
func successor(_ *killtest.Trial, state any) error {
	w := state.(*world)
	if err := w.serve(); err != nil {
		return err
	}
	if err := w.works(); err != nil {
		return err
	}
	if list, err := rpc.Services(w.d); err != nil || len(list) != 1 || list[0].Pid != os.Getpid() {
		return fmt.Errorf("services %v (%w)", list, err)
	}
	if err := errors.Join(w.c.Close(), w.s.Close()); err != nil {
		return err
	}
	return tidy(w.d)
}

func tidy(d *shiplap.Domain) error {
	if _, err := d.Sweep(bg, false); err != nil {
		return err
	}
	if files, err := peertest.Files(d); err != nil || len(files) > 0 {
		return fmt.Errorf("files after a sweep: %v (%v)", files, err)
	}
	if m, err := d.Members(); err != nil || len(m) != 1 {
		return fmt.Errorf("members after a sweep: %v (%v)", m, err)
	}
	return nil
}

// caller is an operation of a client that has called before.
func caller(op func(c *rpc.Client) error) func(*killtest.Victim) (func() error, error) {
	return func(v *killtest.Victim) (func() error, error) {
		d, err := joinAt(v.Dir)
		if err != nil {
			return nil, err
		}
		v.Own(d)
		c, err := rpc.Dial(bg, d, "s", narrow)
		if err != nil {
			return nil, err
		}
		v.Own(c)
		v.Close = c.Close
		_, err = rpc.Call[pair, int64](bg, c, "add", pair{1, 2})
		_, err2 := rpc.Call[[]byte, []byte](bg, c, "echo", nil)
		return func() error { return op(c) }, errors.Join(err, err2)
	}
}

func onDomain(op func(d *shiplap.Domain) (io.Closer, error)) func(*killtest.Victim) (func() error, error) {
	return killtest.OnDomain(joinAt, op)
}

func scenarios() []killtest.Scenario {
	return []killtest.Scenario{
		{Name: "rpc/Call", Covers: []string{"rpc.Call"}, Setup: serving, While: beside, Check: alone,
			Prepare: caller(func(c *rpc.Client) error {
				n, err := rpc.Call[pair, int64](bg, c, "add", pair{4, 5})
				if err == nil && n != 9 {
					err = fmt.Errorf("4 + 5 = %d", n)
				}
				return err
			})},
		{Name: "rpc/Call, the first of its method", Setup: serving, While: beside, Check: alone,
			Prepare: caller(func(c *rpc.Client) error { _, err := rpc.Call[int64, int64](bg, c, "sleep", 0); return err })},
		{Name: "rpc/Call in pieces", Setup: serving, While: beside, Check: alone,
			Prepare: caller(func(c *rpc.Client) error {
				_, err := rpc.Call[[]byte, []byte](bg, c, "echo", make([]byte, 2500))
				return err
			})},
		{Name: "rpc/CallRaw", Covers: []string{"rpc.Client.CallRaw"}, Setup: serving, While: beside, Check: alone,
			Prepare: caller(func(c *rpc.Client) error { _, err := c.CallRaw(bg, "echo", []byte("x")); return err })},
		{Name: "rpc/Dial", Covers: []string{"rpc.Dial"}, Setup: serving, While: beside, Check: alone,
			Prepare: onDomain(func(d *shiplap.Domain) (io.Closer, error) { return rpc.Dial(bg, d, "s", narrow) })},
		{Name: "rpc/Serve", Covers: []string{"rpc.Serve"}, Setup: nobody, Check: successor,
			Prepare: onDomain(func(d *shiplap.Domain) (io.Closer, error) { return rpc.Serve(bg, d, "s", nil) })},
	}
}

func TestKilledAnywhere(t *testing.T) { killtest.RunKills(t, nil, scenarios()...) }

func TestEveryOperationHasAScenario(t *testing.T) {
	const (
		looks = "it reads, and changes nothing that is shared"
		own   = "it changes nothing that is shared"
		calls = "it is a call like CallRaw"
		ends  = "it closes ends of pipes, and the listener (pipe/Close, pipe/Listener.Close), beside goroutines that take another way each time"
	)
	killtest.CheckCovered(t, ".", map[string]string{
		"rpc.*.String": looks, "rpc.*.Stats": looks, "rpc.*.Service": looks, "rpc.Services": looks, "rpc.Error.Error": own, "rpc.Error.Is": own, "rpc.Handle": own,
		"rpc.Server.Methods": own, "rpc.Server.Done": own, "rpc.Server.Err": own, "rpc.Client.Methods": calls, "rpc.Client.CallJSON": calls, "rpc.*.Close": ends, "rpc.Server.Shutdown": ends,
	}, scenarios()...)
}
