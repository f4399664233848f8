package pipe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/pipe"
)

// Not in TestMain, which other tests of this package may want: init too runs on the main goroutine.
func init() { killtest.RunVictim(interruptScenarios()...) }

var bg = killtest.Background()

// pipeWorld is what survivors have: end A of the pipe "p", into which "to B 0" to "to B 2" were sent, or a listener.
type pipeWorld struct {
	d        *shiplap.Domain
	a        *pipe.End
	l        *pipe.Listener
	got      []string
	accepted *pipe.End
	p        *pipe.Pair
}

func (w *pipeWorld) Close() error {
	for _, c := range []interface{ Close() error }{w.a, w.accepted, w.l} {
		switch c := c.(type) {
		case *pipe.End:
			if c != nil {
				c.Close()
			}
		case *pipe.Listener:
			if c != nil {
				c.Close()
			}
		}
	}
	if w.p != nil {
		w.p.Close()
	}
	return w.d.Close()
}

func joinAt(dir string) (*shiplap.Domain, error) {
	return shiplap.Join("t", &shiplap.Options{Dir: dir, NoSweep: true})
}

func empty(t *killtest.Trial) (any, error) {
	d, err := joinAt(t.Dir)
	return &pipeWorld{d: d}, err
}

var small = &pipe.Options{Capacity: 4096}

func withA(t *killtest.Trial) (any, error) {
	d, err := joinAt(t.Dir)
	if err != nil {
		return nil, err
	}
	w := &pipeWorld{d: d}
	if w.a, err = pipe.Create(d, "p", small); err == nil {
		for i := range 3 {
			err = errors.Join(err, w.a.Send(bg, fmt.Appendf(nil, "to B %d", i)))
		}
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

func withListener(t *killtest.Trial) (any, error) {
	d, err := joinAt(t.Dir)
	if err != nil {
		return nil, err
	}
	w := &pipeWorld{d: d}
	if w.l, err = pipe.Listen(d, "l", small); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// onB makes a Prepare of an operation at end B.
func onB(op func(b *pipe.End) error) func(*killtest.Victim) (func() error, error) {
	return func(v *killtest.Victim) (func() error, error) {
		d, err := joinAt(v.Dir)
		if err != nil {
			return nil, err
		}
		b, err := pipe.Open(d, "p", nil)
		if err != nil {
			return nil, err
		}
		v.Own(d)
		v.Own(b)
		v.Close, lastEnd = b.Close, b
		return func() error { return op(b) }, nil
	}
}

// lastEnd is the end that the victim has opened.
var lastEnd *pipe.End

func onDomain(op func(d *shiplap.Domain) (io.Closer, error)) func(*killtest.Victim) (func() error, error) {
	return killtest.OnDomain(joinAt, op)
}

// soon allows for what the kernel needs to tell of a death, and for a busy machine.
func soon() (context.Context, context.CancelFunc) { return context.WithTimeout(bg, 10*time.Second) }

// endGone: A gets what B sent, whole or not at all, then io.EOF; when A is closed too, the pipe is gone.
func endGone(sent string, ends bool) func(t *killtest.Trial, state any) error {
	return func(t *killtest.Trial, state any) error {
		w := state.(*pipeWorld)
		ctx, cancel := soon()
		defer cancel()
		if err := w.a.Send(ctx, []byte("x")); err != nil && !errors.Is(err, shiplap.ErrPeerGone) {
			return fmt.Errorf("send: %w", err)
		}
		for {
			b, err := w.a.Recv(ctx, nil)
			if err == io.EOF {
				break
			}
			if err != nil {
				return fmt.Errorf("receive from the dead: %w", err)
			}
			w.got = append(w.got, string(b))
		}
		done := t.Done || t.Mode == killtest.Pause
		if len(w.got) > 1 || len(w.got) == 1 && w.got[0] != sent || done && sent != "" && len(w.got) != 1 {
			return fmt.Errorf("got %q, %q was sent, done: %v", w.got, sent, done)
		}
		if _, err := pipe.Open(w.d, "p", nil); !errors.Is(err, shiplap.ErrClosed) {
			return fmt.Errorf("opened the end of the dead: %w", err)
		}
		if died := w.a.PeerDied(); died == ends && done {
			return fmt.Errorf("done, it ends the stream: %v, and the peer died: %v", ends, died)
		}
		if err := w.a.Close(); err != nil {
			return err
		}
		return tidyPipes(w.d)
	}
}

// endStands: a standing peer is neither gone nor robbed.
func endStands(ends bool) func(t *killtest.Trial, state any) error {
	return func(t *killtest.Trial, state any) error {
		w := state.(*pipeWorld)
		ctx, cancel := context.WithTimeout(bg, 3*time.Millisecond)
		defer cancel()
		b, err := w.a.Recv(ctx, nil)
		switch {
		case err == nil:
			w.got = append(w.got, string(b))
		case err == io.EOF && ends:
		case err != context.DeadlineExceeded:
			return fmt.Errorf("receive: %w", err)
		}
		if _, err := pipe.Open(w.d, "p", nil); !errors.Is(err, shiplap.ErrBusy) && !(ends && errors.Is(err, shiplap.ErrClosed)) {
			return fmt.Errorf("opened an end that is taken: %w", err)
		}
		if w.a.PeerDied() {
			return errors.New("the living peer is said to be dead")
		}
		return look(t, state)
	}
}

func tidyPipes(d *shiplap.Domain, names ...string) error {
	if _, err := d.Sweep(bg, false); err != nil {
		return err
	}
	files, err := peertest.Files(d)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !slices.Contains(names, f) {
			return fmt.Errorf("%s stays", f)
		}
	}
	if m, err := d.Members(); err != nil || len(m) != 1 {
		return fmt.Errorf("members after a sweep: %v (%v)", m, err)
	}
	return nil
}

// exchange sends one message from x to y.
func exchange(x, y *pipe.End) error {
	ctx, cancel := soon()
	defer cancel()
	if err := x.Send(ctx, []byte("hello")); err != nil {
		return err
	}
	b, err := y.Recv(ctx, nil)
	if err == nil && string(b) != "hello" {
		err = fmt.Errorf("got %q", b)
	}
	return err
}

// openOrGone: end B can be taken, or it was, and then it is finished.
func openOrGone(t *killtest.Trial, state any) error {
	w := state.(*pipeWorld)
	b, err := pipe.Open(w.d, "p", nil)
	switch {
	case errors.Is(err, shiplap.ErrClosed):
		return endGone("", false)(t, state)
	case err != nil:
		return err
	case t.Done || t.Mode == killtest.Pause:
		return errors.New("end B was taken, and could be taken again")
	}
	if err := exchange(b, w.a); err != nil {
		return err
	}
	if err := errors.Join(b.Close(), w.a.Close()); err != nil {
		return err
	}
	return tidyPipes(w.d)
}

func openStands(t *killtest.Trial, state any) error {
	w := state.(*pipeWorld)
	if w.a.PeerDied() {
		return errors.New("the living peer is said to be dead")
	}
	return look(t, state)
}

// creatable: the name can be used for a pipe, whatever the dead left.
func creatable(t *killtest.Trial, state any) error {
	w := state.(*pipeWorld)
	if _, err := w.d.Stat("p"); err != nil && (t.Done || t.Mode == killtest.Pause) {
		return err
	}
	b, err := pipe.OpenOrCreate(w.d, "p", small)
	if err != nil {
		return err
	}
	if b.PeerDied() || t.Mode == killtest.Interrupt && t.Err == nil { // it was made by one who is gone
		ctx, cancel := soon()
		defer cancel()
		if _, err := b.Recv(ctx, nil); err != io.EOF {
			return fmt.Errorf("receive from the dead: %w", err)
		}
		if err := b.Close(); err != nil {
			return err
		}
		if b, err = pipe.OpenOrCreate(w.d, "p", small); err != nil {
			return err
		}
	}
	o, err := pipe.OpenOrCreate(w.d, "p", small)
	if err != nil {
		return err
	}
	if err := errors.Join(exchange(o, b), exchange(b, o), b.Close(), o.Close()); err != nil {
		return err
	}
	return tidyPipes(w.d)
}

// pairable: a pair can be made of that name when what the dead left is swept.
func pairable(_ *killtest.Trial, state any) error {
	w := state.(*pipeWorld)
	if _, err := w.d.Sweep(bg, false); err != nil {
		return err
	}
	p, err := pipe.NewPair(w.d, "pair", small)
	if err != nil {
		return err
	}
	a, err := pipe.Take(w.d, p.A(), nil)
	if err != nil {
		return err
	}
	b, err := pipe.Take(w.d, p.B(), nil)
	if err != nil {
		return err
	}
	if err := errors.Join(exchange(a, b), exchange(b, a), a.Close(), b.Close(), p.Close()); err != nil {
		return err
	}
	return tidyPipes(w.d)
}

// withPair has a pair "pair" and its end B.
func withPair(t *killtest.Trial) (any, error) {
	d, err := joinAt(t.Dir)
	if err != nil {
		return nil, err
	}
	w := &pipeWorld{d: d}
	if w.p, err = pipe.NewPair(d, "pair", small); err == nil {
		w.a, err = pipe.Take(d, w.p.B(), nil)
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// takeOrGone: end A can be taken, or it was, and then it is finished.
func takeOrGone(t *killtest.Trial, state any) error {
	w := state.(*pipeWorld)
	e, err := pipe.Take(w.d, w.p.A(), nil)
	switch {
	case errors.Is(err, shiplap.ErrClosed):
		ctx, cancel := soon()
		defer cancel()
		if _, err := w.a.Recv(ctx, nil); err != io.EOF {
			return fmt.Errorf("receive from the dead: %w", err)
		}
	case err != nil:
		return err
	case t.Done:
		return errors.New("end A was taken, and could be taken again")
	default:
		if err := errors.Join(exchange(e, w.a), e.Close()); err != nil {
			return err
		}
	}
	if err := errors.Join(w.a.Close(), w.p.Close()); err != nil {
		return err
	}
	return tidyPipes(w.d)
}

// listenable: one can listen at the name and be dialled, whatever the dead left.
func listenable(_ *killtest.Trial, state any) error {
	w := state.(*pipeWorld)
	l, err := pipe.Listen(w.d, "l", small)
	if err != nil {
		return err
	}
	w.l = l
	return dialled(w)
}

// dialled dials our own listener. Before that, a pipe of the dead may come.
func dialled(w *pipeWorld) error {
	ctx, cancel := soon()
	defer cancel()
	a, err := pipe.Dial(ctx, w.d, "l", small)
	if err != nil {
		return err
	}
	for {
		b, err := w.l.AcceptEnd(ctx)
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		if b.Name() != a.Name() {
			if _, err := b.Recv(ctx, nil); err != io.EOF {
				return fmt.Errorf("receive from a dead dialler: %w", err)
			}
			b.Close()
			continue
		}
		err = errors.Join(exchange(a, b), exchange(b, a), a.Close(), b.Close(), w.l.Close())
		if err != nil {
			return err
		}
		return tidyPipes(w.d)
	}
}

// accepting: our dialled end learns of the death of who should accept it; then another listens there.
func accepting(t *killtest.Trial, state any) error {
	w := state.(*pipeWorld)
	if w.a != nil {
		ctx, cancel := soon()
		defer cancel()
		if _, err := w.a.Recv(ctx, nil); err != io.EOF {
			return fmt.Errorf("receive from a dead listener: %w", err)
		}
		if err := w.a.Close(); err != nil {
			return err
		}
	}
	return listenable(t, state)
}

// look: a sweep beside a standing process takes nothing away from it, and may find the names locked.
func look(_ *killtest.Trial, state any) error {
	ctx, cancel := context.WithTimeout(bg, 3*time.Millisecond)
	defer cancel()
	_, err := state.(*pipeWorld).d.Sweep(ctx, false)
	if errors.Is(err, shiplap.ErrBusy) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

func killScenarios() []killtest.Scenario {
	end := func(name, covers, sent string, ends bool, op func(b *pipe.End) error) killtest.Scenario {
		return killtest.Scenario{Name: name, Covers: []string{covers}, Setup: withA, Prepare: onB(op), Check: endGone(sent, ends), While: endStands(ends)}
	}
	create := onDomain(func(d *shiplap.Domain) (io.Closer, error) { return pipe.Create(d, "p", small) })
	return []killtest.Scenario{
		end("pipe/Send", "pipe.End.Send", "to A", false, func(b *pipe.End) error { return b.Send(bg, []byte("to A")) }),
		end("pipe/Write", "pipe.End.Write", "to A", false, func(b *pipe.End) error { _, err := b.Write([]byte("to A")); return err }),
		end("pipe/SendWith", "pipe.End.SendWith", "to A", false, func(b *pipe.End) error {
			return b.SendWith(bg, []byte("to A"), shiplap.Envelope{"trace": []byte("00-0af7651916cd43dd8448eb2")})
		}),
		end("pipe/RecvWith", "pipe.End.RecvWith", "", false, func(b *pipe.End) error {
			m, _, err := b.RecvWith(bg, nil)
			if err == nil && string(m) != "to B 0" {
				err = fmt.Errorf("got %q", m)
			}
			return err
		}),
		end("pipe/Recv", "pipe.End.Recv", "", false, func(b *pipe.End) error {
			m, err := b.Recv(bg, nil)
			if err == nil && string(m) != "to B 0" {
				err = fmt.Errorf("got %q", m)
			}
			return err
		}),
		end("pipe/Read", "pipe.End.Read", "", false, func(b *pipe.End) error {
			var p [4]byte
			_, err := io.ReadFull(b, p[:])
			if err == nil && string(p[:]) != "to B" {
				err = fmt.Errorf("got %q", p)
			}
			return err
		}),
		end("pipe/CloseWrite", "pipe.End.CloseWrite", "", true, (*pipe.End).CloseWrite),
		end("pipe/Close", "pipe.End.Close", "", true, (*pipe.End).Close),
		{
			Name: "pipe/Open", Covers: []string{"pipe.Open"}, Setup: withA, Check: openOrGone, While: openStands,
			Prepare: onDomain(func(d *shiplap.Domain) (io.Closer, error) { return pipe.Open(d, "p", nil) }),
		},
		{
			Name: "pipe/NewPair", Covers: []string{"pipe.NewPair"}, Setup: empty, Check: pairable, While: look,
			Prepare: onDomain(func(d *shiplap.Domain) (io.Closer, error) { return pipe.NewPair(d, "pair", small) }),
		},
		{
			Name: "pipe/Take", Covers: []string{"pipe.Take"}, Setup: withPair, Check: takeOrGone,
			Prepare: onDomain(func(d *shiplap.Domain) (io.Closer, error) { return pipe.Take(d, "A:pair", nil) }),
		},
		{
			Name: "pipe/Pair.Close", Covers: []string{"pipe.Pair.Close"}, Setup: empty, Check: pairable,
			Prepare: func(v *killtest.Victim) (func() error, error) {
				d, err := joinAt(v.Dir)
				if err != nil {
					return nil, err
				}
				p, err := pipe.NewPair(d, "pair", small)
				if err != nil {
					return nil, err
				}
				v.Own(d)
				v.Own(p)
				v.Close = p.Close
				return p.Close, nil
			},
		},
		{Name: "pipe/Create", Covers: []string{"pipe.Create"}, Setup: empty, Prepare: create, Check: creatable, While: look},
		{
			Name: "pipe/OpenOrCreate", Covers: []string{"pipe.OpenOrCreate"}, Setup: empty, Check: creatable, While: look,
			Prepare: onDomain(func(d *shiplap.Domain) (io.Closer, error) { return pipe.OpenOrCreate(d, "p", small) }),
		},
		{
			Name: "pipe/Listen", Covers: []string{"pipe.Listen"}, Setup: empty, Check: listenable, While: look,
			Prepare: onDomain(func(d *shiplap.Domain) (io.Closer, error) { return pipe.Listen(d, "l", small) }),
		},
		{
			Name: "pipe/Dial", Covers: []string{"pipe.Dial"}, Setup: withListener, While: look,
			Check:   func(_ *killtest.Trial, state any) error { return dialled(state.(*pipeWorld)) },
			Prepare: onDomain(func(d *shiplap.Domain) (io.Closer, error) { return pipe.Dial(bg, d, "l", small) }),
		},
		{
			Name: "pipe/AcceptEnd", Covers: []string{"pipe.Listener.AcceptEnd"}, Setup: empty, Check: accepting, While: look,
			Prepare: selfDialled(func(l *pipe.Listener, v *killtest.Victim) error {
				e, err := l.AcceptEnd(bg)
				if err == nil {
					v.Own(e)
				}
				return err
			}),
		},
		{
			Name: "pipe/Listener.Close", Covers: []string{"pipe.Listener.Close"}, Setup: empty, Check: accepting, While: look,
			Prepare: selfDialled(func(l *pipe.Listener, _ *killtest.Victim) error { return l.Close() }),
		},
	}
}

// selfDialled is an operation of a listener that was dialled.
func selfDialled(op func(l *pipe.Listener, v *killtest.Victim) error) func(*killtest.Victim) (func() error, error) {
	return func(v *killtest.Victim) (func() error, error) {
		d, err := joinAt(v.Dir)
		if err != nil {
			return nil, err
		}
		l, err := pipe.Listen(d, "l", small)
		if err != nil {
			return nil, err
		}
		e, err := pipe.Dial(bg, d, "l", small)
		if err != nil {
			return nil, err
		}
		v.Own(d)
		v.Own(l)
		v.Own(e)
		v.Close = l.Close
		return func() error { return op(l, v) }, nil
	}
}

func TestKilledAnywhere(t *testing.T) { killtest.RunKills(t, nil, killScenarios()...) }

func TestEveryOperationHasAScenario(t *testing.T) {
	const (
		looks = "it reads, and changes nothing that is shared"
		own   = "it changes nothing that is shared"
		conn  = "it does what it does by methods of End"
	)
	killtest.CheckCovered(t, ".", map[string]string{
		"pipe.*.String": looks, "pipe.Stats.String": looks, "pipe.End.Stats": looks, "pipe.StatsOf": looks, "pipe.End.Name": looks,
		"pipe.End.MaxMessage": looks, "pipe.End.PeerDied": looks, "pipe.Addr.Network": looks, "pipe.Listener.Addr": looks, "pipe.Listener.Err": looks,
		"pipe.End.Drain": "it waits, and changes nothing that is shared", "pipe.End.Conn": looks,
		"pipe.End.Remove": "it is a removal of any object (shiplap/Remove)", "pipe.Pair.A": looks, "pipe.Pair.B": looks, "pipe.Pair.Name": looks,
		"pipe.Conn.Read": conn, "pipe.Conn.Write": conn, "pipe.Conn.Close": conn, "pipe.Conn.CloseWrite": conn, "pipe.Conn.End": looks,
		"pipe.Conn.LocalAddr": looks, "pipe.Conn.RemoteAddr": looks, "pipe.Conn.SetDeadline": own, "pipe.Conn.SetReadDeadline": own,
		"pipe.Conn.SetWriteDeadline": own, "pipe.Listener.Accept": "it is AcceptEnd with another result",
	}, killScenarios()...)
}
