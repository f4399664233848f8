package pipe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/lock"
	"github.com/shiplap-ipc/shiplap/pipe"
)

// within bounds what must not take long.
func within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(bg, d)
	context.AfterFunc(ctx, cancel)
	return ctx
}

// bothEnds has both ends of pipes until it is killed.
func bothEnds(d *shiplap.Domain, a arg) error {
	for i := range a.N {
		name := fmt.Sprint(a.Name, i)
		if _, err := pipe.Create(d, name, small); err != nil {
			return err
		}
		if _, err := pipe.Open(d, name, small); err != nil {
			return err
		}
	}
	peertest.Say("both")
	<-peertest.StdinEnds()
	return nil
}

// restart opens or makes the same pipes as others, at the same moments.
func restart(d *shiplap.Domain, a arg) error {
	start, err := lock.OpenOrCreateBarrier(d, "start", a.Others, nil)
	if err != nil {
		return err
	}
	for i := range a.N {
		if _, err := start.Wait(bg); err != nil {
			return err
		}
		e, err := pipe.OpenOrCreate(d, fmt.Sprint(a.Name, i), small)
		if err == nil {
			err = e.Send(bg, []byte("x"))
		}
		if _, err := start.Wait(bg); err != nil { // each holds what it has
			return err
		}
		switch {
		case err == nil:
			peertest.Say(i, "has an end")
		case errors.Is(err, shiplap.ErrBusy):
			peertest.Say(i, "busy", err)
		default:
			peertest.Say(i, "failed", err)
		}
		if e != nil {
			_ = e.Close()
		}
		if _, err := start.Wait(bg); err != nil {
			return err
		}
	}
	return nil
}

// After the death of the process that had both ends of a pipe, others open or make it at the same
// moment: two of them have an end each of the same pipe, and the rest is told that it is busy.
func TestReopenedByMany(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 100
	}
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			d := domain(t)
			a := arg{Name: "p", N: rounds, Others: n}
			victim := peertest.Start(t, d, "both ends", a)
			victim.Says("both")
			victim.Kill()
			var peers []*peertest.Peer
			for range n {
				peers = append(peers, peertest.Start(t, d, "restart", a))
			}
			had, untrue := map[string]int{}, 0
			for _, p := range peers {
				for _, line := range p.Lines() {
					round, what, _ := strings.Cut(line, " ")
					switch {
					case what == "has an end":
						had[round]++
					case n == 2 || !strings.HasPrefix(what, "busy"):
						untrue++
						t.Log(line)
					}
				}
				ok(t, p.Wait())
			}
			two := 0
			for _, n := range had {
				if n == 2 {
					two++
				}
			}
			if two != rounds || untrue > 0 {
				t.Errorf("%d of %d pipes were opened by two processes; %d untrue errors", two, rounds, untrue)
			}
			_, err := d.Sweep(bg, false)
			ok(t, errors.Join(err, d.Remove(bg, "start")))
		})
	}
}

// listenOnly listens and does not accept.
func listenOnly(d *shiplap.Domain, a arg) error {
	l, err := pipe.Listen(d, a.Name, small)
	if err != nil {
		return err
	}
	peertest.Say("listening")
	<-peertest.StdinEnds()
	return l.Close()
}

// reopen listens, accepts a few, and closes, again and again.
func reopen(d *shiplap.Domain, a arg) error {
	end := peertest.StdinEnds()
	peertest.Say("listening")
	for {
		select {
		case <-end:
			return nil
		default:
		}
		l, err := pipe.Listen(d, a.Name, small)
		if err != nil {
			return err
		}
		for range 3 {
			e, err := l.AcceptEnd(within(time.Millisecond))
			if err == nil {
				err = errors.Join(e.Send(bg, []byte("x")), e.Close())
				if errors.Is(err, shiplap.ErrPeerGone) || errors.Is(err, shiplap.ErrRemoved) {
					err = nil
				}
			}
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
}

// dialMany dials and waits for an answer or an end.
func dialMany(d *shiplap.Domain, a arg) error {
	end := peertest.StdinEnds()
	n, hung := 0, 0
	for {
		select {
		case <-end:
			peertest.Say("dialled", n, "hung", hung)
			return nil
		default:
		}
		e, err := pipe.Dial(within(5*time.Second), d, a.Name, small)
		if errors.Is(err, shiplap.ErrNotExist) || errors.Is(err, shiplap.ErrPeerGone) {
			continue
		}
		if err != nil {
			return err
		}
		n++
		if _, err = e.Recv(within(5*time.Second), nil); errors.Is(err, context.DeadlineExceeded) {
			hung++
		}
		_ = e.Close()
	}
}

// Every pipe that was dialled is answered or ends, however quickly listeners come and go.
func TestDialUnderClosingListeners(t *testing.T) {
	d := domain(t)
	listener := peertest.Start(t, d, "reopen", arg{Name: "l"})
	listener.Says("listening")
	var peers []*peertest.Peer
	for range 3 {
		peers = append(peers, peertest.Start(t, d, "dial", arg{Name: "l"}))
	}
	round := 5 * time.Second
	if testing.Short() {
		round /= 5
	}
	time.Sleep(round)
	for _, p := range peers {
		p.CloseStdin()
	}
	for _, p := range peers {
		var n, hung int
		line := p.Line()
		if _, err := fmt.Sscanf(line, "dialled %d hung %d", &n, &hung); err != nil || n == 0 || hung > 0 {
			t.Errorf("%q (%v)", line, err)
		}
		p.Ends()
	}
	listener.Ends()
	_, err := d.Sweep(bg, false)
	ok(t, err)
}

// limitFiles leaves this process that many descriptors.
func limitFiles(n int) error {
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(n), Max: uint64(n)})
}

const fewFiles = 60

// serveHTTP serves with few descriptors.
func serveHTTP(d *shiplap.Domain, a arg) error {
	if err := limitFiles(fewFiles); err != nil {
		return err
	}
	l, err := pipe.Listen(d, a.Name, small)
	if err != nil {
		return err
	}
	srv := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "here") })}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	peertest.Say("listening")
	select {
	case err := <-served:
		return fmt.Errorf("it does not serve any more: %w", err)
	case <-peertest.StdinEnds():
	}
	err = srv.Close()
	<-served
	return err
}

// acceptPoor accepts with few descriptors, by AcceptEnd, and answers.
func acceptPoor(d *shiplap.Domain, a arg) error {
	if err := limitFiles(fewFiles); err != nil {
		return err
	}
	l, err := pipe.Listen(d, a.Name, small)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	accepted := make(chan error, 1)
	go func() {
		for {
			e, err := l.AcceptEnd(bg)
			if err != nil {
				accepted <- err
				return
			}
			wg.Go(func() {
				defer e.Close()
				for {
					b, err := e.Recv(bg, nil)
					if err != nil || e.Send(bg, b) != nil {
						return
					}
				}
			})
		}
	}()
	peertest.Say("listening")
	select {
	case err := <-accepted:
		return fmt.Errorf("it does not accept any more: %w", err)
	case <-peertest.StdinEnds():
	}
	err = l.Close()
	if err := <-accepted; !errors.Is(err, shiplap.ErrClosed) {
		return err
	}
	wg.Wait()
	return err
}

// A server that runs out of descriptors serves again when there are some.
func TestHTTPWithoutDescriptors(t *testing.T) {
	d := domain(t)
	p := peertest.Start(t, d, "http", arg{Name: "web"})
	p.Says("listening")
	get := func(e *pipe.End) error {
		c := e.Conn()
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			return err
		}
		if _, err := c.Write([]byte("GET / HTTP/1.0\r\nHost: web\r\n\r\n")); err != nil {
			return err
		}
		b, err := io.ReadAll(c)
		if err == nil && !strings.HasSuffix(string(b), "here") {
			err = fmt.Errorf("got %q", b)
		}
		return err
	}
	floodAndCome(t, d, "web", get)
	p.Ends()
}

func TestAcceptEndWithoutDescriptors(t *testing.T) {
	d := domain(t)
	p := peertest.Start(t, d, "accept", arg{Name: "l"})
	p.Says("listening")
	floodAndCome(t, d, "l", func(e *pipe.End) error { return exchangeEcho(e) })
	p.Ends()
}

func exchangeEcho(e *pipe.End) error {
	ctx := within(20 * time.Second)
	if err := e.Send(ctx, []byte("hello")); err != nil {
		return err
	}
	b, err := e.Recv(ctx, nil)
	if err == nil && string(b) != "hello" {
		err = fmt.Errorf("got %q", b)
	}
	return err
}

// floodAndCome dials more than the peer has descriptors for, has those answered that were not given up,
// then comes again.
func floodAndCome(t *testing.T, d *shiplap.Domain, name string, talk func(*pipe.End) error) {
	t.Helper()
	for range 2 {
		const flood = 80
		var ends []*pipe.End
		for range flood {
			e, err := pipe.Dial(within(20*time.Second), d, name, small)
			ok(t, err)
			ends = append(ends, e)
		}
		// The first ones are held until the peer has run out for certain; the last one waits in the ring meanwhile.
		last := ends[flood-1]
		got := make(chan error, 1)
		go func() { got <- talk(last) }()
		for range 5 {
			runtime.Gosched()
		}
		for _, e := range ends[:flood-1] {
			ok(t, e.Close())
		}
		ok(t, <-got)
		_ = last.Close()
	}
	e, err := pipe.Dial(within(20*time.Second), d, name, small)
	ok(t, err)
	ok(t, talk(e))
	_ = e.Close()
}

// answerOnce accepts a pipe, answers one message, and reads no more.
func answerOnce(d *shiplap.Domain, a arg) error {
	_, err := acceptAndAnswer(d, a)
	if err == nil {
		<-peertest.StdinEnds()
	}
	return err
}

func acceptAndAnswer(d *shiplap.Domain, a arg) (*pipe.End, error) {
	l, err := pipe.Listen(d, a.Name, nil)
	if err != nil {
		return nil, err
	}
	peertest.Say("listening")
	e, err := l.AcceptEnd(bg)
	if err != nil {
		return nil, err
	}
	b, err := e.Recv(bg, nil)
	if err == nil {
		err = e.Send(bg, b)
	}
	return e, err
}

// answerAndExec becomes another program when it is told: the process lives on, without its memory.
func answerAndExec(d *shiplap.Domain, a arg) error {
	if _, err := acceptAndAnswer(d, a); err != nil {
		return err
	}
	peertest.Hear()
	return syscall.Exec("/bin/sleep", []string{"sleep", "1000"}, nil)
}

// What is sent to a dead process fails soon after its death, not when the ring is full.
func TestWriteToTheDead(t *testing.T) {
	for _, role := range []string{"answer", "exec"} {
		for what, write := range map[string]func(*pipe.End, []byte) error{
			"Conn.Write": func(e *pipe.End, b []byte) error {
				_, err := e.Conn().Write(b)
				if err != nil && !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("%v; %v is wanted", err, io.ErrClosedPipe)
				}
				return err
			},
			"Send": func(e *pipe.End, b []byte) error { return e.Send(bg, b) },
		} {
			t.Run(role+" "+what, func(t *testing.T) {
				d := domain(t)
				p := peertest.Start(t, d, role, arg{Name: "l"})
				p.Says("listening")
				e, err := pipe.Dial(within(20*time.Second), d, "l", nil) // of 1 MiB each way
				ok(t, err)
				defer e.Close()
				ok(t, exchangeEcho(e))
				if role == "exec" {
					p.Tell("now")
				} else {
					p.Kill()
				}
				piece, sent := make([]byte, 1000), 0
				start := time.Now()
				for err = nil; err == nil && sent < 900_000; sent += len(piece) {
					time.Sleep(time.Millisecond) // time for a death to be told, not for the ring to be filled
					err = write(e, piece)
				}
				is(t, fmt.Sprint("after ", sent, " bytes"), err, shiplap.ErrPeerGone)
				t.Logf("%d bytes, %v", sent, time.Since(start))
				is(t, "the next", write(e, piece), shiplap.ErrPeerGone)
				if !e.PeerDied() {
					t.Error("it did not die")
				}
				p.Kill()
				_, err = d.Sweep(bg, false)
				ok(t, err)
			})
		}
	}
}

// A send that waits for its turn behind another one obeys its context.
func TestContextsOfThoseBehind(t *testing.T) {
	d := domain(t)
	a, b := pair(t, d, small)
	defer b.Close()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if err := a.Send(bg, make([]byte, 3000)); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { _, err := a.Recv(bg, nil); is(t, "a receive", err, shiplap.ErrClosed) })
	}
	for {
		if s, err := a.Stats(); err == nil && s.AtoB.SendWaits > 0 && s.BtoA.RecvWaits > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
	defer cancel()
	is(t, "a send", a.Send(ctx, make([]byte, 3000)), context.DeadlineExceeded)
	_, err := a.Recv(ctx, nil)
	is(t, "a receive", err, context.DeadlineExceeded)
	is(t, "a drain", a.Drain(ctx), context.DeadlineExceeded)
	for range 2 {
		_, err := b.Recv(bg, nil)
		ok(t, err)
	}
	ok(t, a.Close())
	wg.Wait()
}

// What is sent to an end that was never opened is lost with an ephemeral pipe, and Close says so.
func TestUnread(t *testing.T) {
	ephemeral := &pipe.Options{Capacity: 4096, Ephemeral: true}
	for what, tt := range map[string]struct {
		opt  *pipe.Options
		send int
		open bool // the other end
		want error
	}{
		"unread":        {ephemeral, 3, false, pipe.ErrUnread},
		"nothing sent":  {ephemeral, 0, false, nil},
		"opened":        {ephemeral, 3, true, nil},
		"not ephemeral": {small, 3, false, nil},
	} {
		t.Run(what, func(t *testing.T) {
			d := domain(t)
			a, err := pipe.OpenOrCreate(d, "x", tt.opt)
			ok(t, err)
			for range tt.send {
				ok(t, a.Send(bg, []byte("hello")))
			}
			var b *pipe.End
			if tt.open {
				b, err = pipe.OpenOrCreate(d, "x", nil)
				ok(t, err)
			}
			err = a.Close()
			if tt.want != nil {
				is(t, "close", err, tt.want)
				if err != nil && !strings.Contains(err.Error(), "3 messages") {
					t.Error(err)
				}
				return
			}
			ok(t, err)
			if tt.send == 0 {
				return
			}
			if b == nil {
				b, err = pipe.Open(d, "x", nil)
				ok(t, err)
			}
			for range tt.send {
				_, err := b.Recv(within(20*time.Second), nil)
				ok(t, err)
			}
			if _, err := b.Recv(within(20*time.Second), nil); err != io.EOF {
				t.Error(err)
			}
			ok(t, b.Close())
		})
	}
}

// produce sends numbers through the end that it is given, and ends.
func produce(d *shiplap.Domain, a arg) error {
	e, err := pipe.Take(d, a.Name, nil)
	if err != nil {
		return err
	}
	for i := range a.N {
		if err := e.Send(bg, fmt.Append(nil, i)); err != nil {
			return err
		}
	}
	return e.Close()
}

// consume receives from the end that it is given.
func consume(d *shiplap.Domain, a arg) error {
	e, err := pipe.Take(d, a.Name, nil)
	if err != nil {
		return err
	}
	for {
		b, err := e.Recv(bg, nil)
		if err == io.EOF {
			return e.Close()
		}
		if err != nil {
			return err
		}
		peertest.Say(string(b))
	}
}

// A parent makes a pipe and hands out both ends. One child is through before the other begins.
func TestPair(t *testing.T) {
	for _, swap := range []bool{false, true} {
		d := domain(t)
		p, err := pipe.NewPair(d, "", small)
		ok(t, err)
		from, to := p.A(), p.B()
		if swap {
			from, to = to, from
		}
		ok(t, peertest.Start(t, d, "produce", arg{Name: from, N: 5}).Wait())
		_, err = pipe.Take(d, from, nil)
		is(t, "the end that is finished", err, shiplap.ErrClosed)
		c := peertest.Start(t, d, "consume", arg{Name: to})
		if got := fmt.Sprint(c.Numbers()); got != "[0 1 2 3 4]" {
			t.Errorf("got %v", got)
		}
		ok(t, c.Wait())
		ok(t, p.Close())
		is(t, "a second close", p.Close(), shiplap.ErrClosed)
	}
}

// Before both children have their ends, each waits for the other, and what it sends stays; OpenOrCreate
// takes the free one.
func TestPairEnds(t *testing.T) {
	d := domain(t)
	p, err := pipe.NewPair(d, "wire", small)
	ok(t, err)
	b, err := pipe.OpenOrCreate(d, "wire", nil)
	ok(t, err)
	_, err = pipe.Take(d, p.B(), nil)
	is(t, "an end that is taken", err, shiplap.ErrBusy)
	ok(t, b.Send(bg, []byte("early")))
	_, err = b.Recv(within(10*time.Millisecond), nil)
	is(t, "nobody is there", err, context.DeadlineExceeded)
	if b.PeerDied() {
		t.Error("nobody was there to die")
	}
	a, err := pipe.OpenOrCreate(d, "wire", nil)
	ok(t, err)
	early, err := a.Recv(within(20*time.Second), nil)
	ok(t, err)
	if string(early) != "early" {
		t.Errorf("got %q", early)
	}
	_, err = pipe.OpenOrCreate(d, "wire", nil)
	is(t, "a third", err, shiplap.ErrBusy)
	ok(t, errors.Join(exchange(a, b), p.Close(), a.Close(), b.Close()))
	_, err = pipe.Take(d, p.A(), nil)
	is(t, "afterwards", err, shiplap.ErrNotExist)
	_, err = pipe.Take(d, "wire", nil)
	is(t, "a name without an end", err, shiplap.ErrName)
}

// What goes with a pipe that somebody removed is that one's doing: closing it says nothing of it.
func TestRemovedUnread(t *testing.T) {
	for _, opt := range []*pipe.Options{small, {Capacity: 4096, Ephemeral: true}} {
		d := domain(t)
		a, err := pipe.Create(d, "x", opt)
		ok(t, err)
		ok(t, a.Send(bg, []byte("hello")))
		ok(t, d.Remove(bg, "x"))
		ok(t, a.Close())
	}
}

// A pair that is closed too early says what is lost.
func TestPairUnread(t *testing.T) {
	d := domain(t)
	p, err := pipe.NewPair(d, "wire", small)
	ok(t, err)
	a, err := pipe.Take(d, p.A(), nil)
	ok(t, err)
	ok(t, a.Send(bg, []byte("lost")))
	ok(t, a.Close()) // the pair keeps it
	is(t, "close", p.Close(), pipe.ErrUnread)
}

// holdNames holds the lock that orders removals in the domain.
func holdNames(d *shiplap.Domain, _ arg) error {
	t := object.OfDomain(d).Table
	if locked, err := t.LockNames(); !locked || err != nil {
		return fmt.Errorf("the name lock: %v, %w", locked, err)
	}
	peertest.Say("holding")
	<-peertest.StdinEnds()
	return t.UnlockNames()
}

// Nothing that closes waits for a process that is in the middle of a removal; the rest is done later.
func TestCloseBesideTheNameLock(t *testing.T) {
	d := domain(t)
	l, err := pipe.Listen(d, "l", small)
	ok(t, err)
	e, err := pipe.Dial(within(20*time.Second), d, "l", small)
	ok(t, err)
	accepted, err := l.AcceptEnd(within(20 * time.Second))
	ok(t, err)
	pr, err := pipe.NewPair(d, "", small)
	ok(t, err)
	p := peertest.Start(t, d, "hold names", arg{})
	p.Says("holding")
	for _, c := range []io.Closer{e.Conn(), accepted.Conn(), pr, l} {
		start := time.Now()
		if err := c.Close(); err != nil {
			t.Errorf("%T: %v", c, err)
		}
		if took := time.Since(start); took > 3*time.Second { // it was 10 s
			t.Errorf("%T took %v to close", c, took)
		} else {
			t.Logf("%T: %v", c, took)
		}
	}
	p.Ends()
	_, err = d.Sweep(bg, false)
	ok(t, err)
}
