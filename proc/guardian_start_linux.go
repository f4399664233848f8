package proc

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An exec can hang for as long as the file system likes: on a network, under a lease. So processes are
// started by a thread of their own, one after the other (the runtime has a lock around fork and exec),
// outside of the guardian's mutex: signals, stops, and the end of all when the manager dies do not wait
// for it. Other starts do, until it is through or given up; given up themselves they do not wait any longer.

// starter is what a guardian starts processes with.
type starter struct {
	orders chan *startOrder

	// Guarded by the guardian's mutex.
	coming  map[uint64]*kid // ordered, and not started yet
	forking *kid            // of these, the one between fork and exec
	thread  int             // that forks
}

type startOrder struct {
	order
	files []*os.File
	kid   *kid
}

const mostQueued = 1 << 16 // more orders than processes can be

func (g *guardian) startLater(o order, files []*os.File) {
	s := &startOrder{o, files, &kid{id: o.ID, pidfd: -1}}
	g.mu.Lock()
	if g.coming == nil {
		g.coming = map[uint64]*kid{}
	}
	g.coming[o.ID] = s.kid
	g.mu.Unlock()
	g.orders <- s
}

// startAll starts processes, for ever.
func (g *guardian) startAll() {
	// The kernel ends the children when the thread ends that started them: this one, which never does.
	runtime.LockOSThread()
	g.mu.Lock()
	g.thread = unix.Gettid()
	g.mu.Unlock()
	for s := range g.orders {
		g.start(s)
		closeAll(s.files)
	}
}

func (g *guardian) start(s *startOrder) {
	k := s.kid
	g.mu.Lock()
	if k.aborted { // and answered
		g.mu.Unlock()
		return
	}
	k.ooms = g.ooms.read()
	void := g.ending
	if !void {
		g.forking = k
	}
	g.mu.Unlock()
	pid, err := 0, error(syscall.ECANCELED)
	if !void {
		pid, err = g.fork(s)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forking = nil
	if err != nil {
		errno, ok := err.(syscall.Errno)
		if !ok {
			errno = syscall.EINVAL
		}
		g.failed(k, errno)
		return
	}
	delete(g.coming, k.id)
	g.some.Broadcast()
	k.pid = pid
	g.kids[pid], g.byID[k.id] = k, k
	g.report(report{Kind: reportStarted, ID: k.id, Pid: pid})
	if g.ending {
		k.signal(unix.SIGKILL)
	}
}

// failed answers that nothing was started; under mu.
func (g *guardian) failed(k *kid, errno syscall.Errno) {
	delete(g.coming, k.id)
	g.some.Broadcast()
	g.report(report{Kind: reportStarted, ID: k.id, Errno: int(errno)})
}

func (g *guardian) fork(s *startOrder) (pid int, err error) {
	if len(s.files) != s.Files {
		return 0, syscall.EMFILE // descriptors for which there was no room are not there
	}
	fds := []uintptr{g.null.Fd()}
	for _, f := range s.files {
		fds = append(fds, f.Fd())
	}
	return syscall.ForkExec(s.Path, s.Argv, &syscall.ProcAttr{Dir: s.Dir, Env: s.Env, Files: fds,
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, PidFD: &s.kid.pidfd}})
}

// giveUp kills the child of a start under way until that is through.
func (g *guardian) giveUp(k *kid) {
	for {
		g.mu.Lock()
		over := g.forking != k
		if !over {
			for _, pid := range g.unborn() {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		g.mu.Unlock()
		if over {
			return
		}
		time.Sleep(leftPause)
	}
}

// unborn are the children of the thread that forks which are not known yet. What came to us from others
// has another parent among our threads.
func (g *guardian) unborn() (pids []int) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", g.thread))
	for _, text := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(text); err == nil && g.kids[pid] == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
