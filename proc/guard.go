package proc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// guard is the guardian as its manager sees it.
type guard struct {
	conn *net.UnixConn
	cmd  *exec.Cmd
	send sync.Mutex

	mu    sync.Mutex
	lives map[uint64]*life
	last  uint64
	ended bool
	done  chan struct{} // closed when it ended and was waited for
}

// life is one run of a process, from its start until nobody of its group is left.
type life struct {
	g        *guard // which numbered it
	id       uint64
	answered chan struct{} // pid and err are set
	pid      int
	err      error
	started  time.Time
	exited   chan struct{} // exit is set
	exit     Exit
	gone     chan struct{} // so is the group
}

// over reports that nobody of its group is left.
func (l *life) over() bool {
	select {
	case <-l.gone:
		return true
	default:
		return false
	}
}

func (g *guard) listen() {
	defer close(g.done)
	for {
		var r report
		files, err := readFrame(g.conn, &r)
		closeAll(files) // there are none
		if err != nil {
			break
		}
		g.take(r)
	}
	_ = g.conn.Close() // if it lives, that ends it
	g.lose()
	_ = g.cmd.Wait()
}

func (g *guard) take(r report) {
	g.mu.Lock()
	l := g.lives[r.ID]
	if r.Kind == reportGone || r.Kind == reportStarted && r.Errno != 0 {
		delete(g.lives, r.ID)
	}
	g.mu.Unlock()
	if l == nil {
		return
	}
	switch r.Kind {
	case reportStarted:
		l.pid, l.started = r.Pid, time.Now()
		if r.Errno != 0 {
			l.err = syscall.Errno(r.Errno)
		}
		close(l.answered)
	case reportExited:
		status := syscall.WaitStatus(r.Status)
		l.exit = Exit{Code: status.ExitStatus(), Core: status.CoreDump(), OOM: r.OOM, Pid: l.pid,
			User: time.Duration(r.User), System: time.Duration(r.System), MaxRSS: r.MaxRSS}
		if status.Signaled() {
			l.exit.Signal = status.Signal()
		}
		l.end()
	case reportGone:
		close(l.gone)
	}
}

func (l *life) end() {
	l.exit.At = time.Now()
	l.exit.Ran = l.exit.At.Sub(l.started)
	close(l.exited)
}

// lose is called when the guardian ended. The kernel ended its children; their groups are ours to end.
func (g *guard) lose() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	for _, l := range g.lives {
		select {
		case <-l.answered:
			killGroup(l.pid)
		default:
			l.err = errGuardianLost
			close(l.answered)
		}
		select {
		case <-l.exited:
		default:
			l.exit = Exit{Code: -1, Lost: true, Pid: l.pid}
			l.end()
		}
		close(l.gone)
	}
	g.lives = nil
}

var errGuardianLost = fmt.Errorf("the guardian ended: %w", errs.ErrPeerGone)

// start starts a process and waits for the answer, which comes at once unless its exec hangs: the end
// of the context has the guardian give it up. files are its stdout, stderr and so on.
func (g *guard) start(ctx context.Context, o order, files ...int) (*life, error) {
	l := &life{g: g, answered: make(chan struct{}), exited: make(chan struct{}), gone: make(chan struct{})}
	g.mu.Lock()
	if g.ended {
		g.mu.Unlock()
		return nil, errGuardianLost
	}
	g.last++
	l.id = g.last
	g.lives[l.id] = l
	g.mu.Unlock()
	o.Kind, o.ID, o.Files = orderStart, l.id, len(files)
	if err := g.order(o, files...); err != nil {
		g.mu.Lock()
		if !g.ended {
			delete(g.lives, l.id)
		}
		g.mu.Unlock()
		if cut(err) {
			err = fmt.Errorf("%w (%w)", errGuardianLost, err)
		}
		return nil, err
	}
	select {
	case <-l.answered:
	case <-ctx.Done():
		_ = g.order(order{Kind: orderAbort, ID: l.id})
		<-l.answered
	}
	return l, l.err
}

// cut reports that the other end of the connection is gone. That is seen where we write a little earlier than where we
// read.
func cut(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed)
}

func (g *guard) order(o order, files ...int) error {
	g.send.Lock()
	defer g.send.Unlock()
	return writeFrame(g.conn, o, files...)
}

// signal signals the group of a life, if there is anybody left in it.
func (l *life) signal(kind orderKind, s syscall.Signal) {
	_ = l.g.order(order{Kind: kind, ID: l.id, Signal: int(s)}) // fails if the guardian is gone, and all with it
}

// close ends the guardian, and whatever it still has.
func (g *guard) close() {
	_ = g.order(order{Kind: orderBye})
	_ = g.conn.CloseWrite()
	<-g.done
}
