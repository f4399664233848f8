package proc

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap"
)

// guardian is the process that starts the children and survives the manager for as long as it takes to end them.
type guardian struct {
	conn    *net.UnixConn
	null    *os.File
	manager int // pidfd, or -1
	ooms    oomCounter

	starter

	mu     sync.Mutex
	some   *sync.Cond      // there is a child, or ending
	kids   map[int]*kid    // leaders of groups that were not reaped
	groups map[uint64]*kid // by id, groups whose leader was
	byID   map[uint64]*kid
	ending bool
	sweep  bool
}

type kid struct {
	id     uint64
	pid    int
	pidfd  int  // of the leader, or -1
	polite bool // its group was asked to stop: what is left when the leader ends may finish
	killed bool // by us
	ooms   uint64

	aborted bool // before it was started
}

// runGuardian is the guardian's program.
func runGuardian() (code int) {
	// A signal to the manager's group is meant for the manager. Caught, not ignored: ignoring would be inherited.
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2,
		unix.SIGALRM, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGPIPE)
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "shiplap guardian:", err)
		return 1
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fail(fmt.Errorf("become a subreaper: %w", err))
	}
	conn, err := connOf(os.NewFile(guardianFD, "manager"))
	if err != nil {
		return fail(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fail(err)
	}
	g := &guardian{conn: conn, null: null, ooms: findOOMCounter("/proc/self/cgroup", "/sys/fs/cgroup"), sweep: true,
		kids: map[int]*kid{}, groups: map[uint64]*kid{}, byID: map[uint64]*kid{}}
	g.some = sync.NewCond(&g.mu)
	g.orders = make(chan *startOrder, mostQueued)
	go g.startAll()
	if g.manager, err = unix.PidfdOpen(os.Getppid(), 0); err != nil {
		g.manager = -1
	}
	go g.reap()
	for {
		var o order
		files, err := readFrame(conn, &o)
		if err != nil {
			g.end() // the reaper exits
		}
		g.obey(o, files)
	}
}

// obey carries out an order, or sees to it that it is. It never waits.
func (g *guardian) obey(o order, files []*os.File) {
	if o.Kind == orderStart {
		g.startLater(o, files)
		return
	}
	closeAll(files) // there are none
	g.mu.Lock()
	defer g.mu.Unlock()
	switch o.Kind {
	case orderSignal, orderStop:
		if k := g.byID[o.ID]; k != nil {
			k.polite = k.polite || o.Kind == orderStop
			k.signal(unix.Signal(o.Signal))
			if o.Kind == orderStop {
				k.signal(unix.SIGCONT) // a stopped one could not obey
			}
		}
	case orderAbort:
		if k := g.coming[o.ID]; k != nil {
			k.aborted = true
			if k == g.forking {
				go g.giveUp(k)
			} else { // it may wait for long until it were its turn
				g.failed(k, unix.ECANCELED)
			}
		}
	case orderBye:
		g.sweep = false
	}
}

func (k *kid) signal(s unix.Signal) {
	k.killed = k.killed || s == unix.SIGKILL
	_ = k.signalGroup(s)
}

// signalGroup signals the group by the leader's pidfd, which never means another one. Before Linux 6.9 it goes by number: that is not
// given to others as long as an unreaped leader or a member holds it, but its last member may end unseen.
func (k *kid) signalGroup(s unix.Signal) error {
	if k.pidfd >= 0 {
		err := unix.PidfdSendSignal(k.pidfd, s, nil, unix.PIDFD_SIGNAL_PROCESS_GROUP)
		if err != unix.EINVAL && err != unix.ENOSYS && err != unix.EPERM { // EPERM: a sandbox
			return err
		}
	}
	return unix.Kill(-k.pid, s)
}

// report fails only when the manager is gone, which the reader finds, too.
func (g *guardian) report(r report) { _ = writeFrame(g.conn, r) }

// reap waits for children, ours and those that came to us, until the end.
func (g *guardian) reap() {
	for {
		// Only looking: a group is to be killed while its leader still holds its number.
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT, nil)
		g.mu.Lock()
		left := false
		switch {
		case err == unix.ECHILD && g.forking != nil:
			g.some.Wait() // its child is not there yet
		case err == unix.ECHILD && g.ending:
			g.finish()
		case err == unix.ECHILD:
			if len(g.kids) == 0 {
				g.some.Wait()
			}
		case err == nil:
			left = g.collect()
			if g.ending && len(g.kids) == 0 {
				killChildren()
			}
		}
		g.mu.Unlock()
		if left {
			time.Sleep(leftPause)
		}
	}
}

// leftPause is between looks at children while one that ended cannot be reaped.
const leftPause = 5 * time.Millisecond

// collect reaps children. Those that are not known stay as long as one is being started, which it may
// be: they are left.
func (g *guardian) collect() (left bool) {
	for pid, k := range g.kids {
		var si unix.Siginfo
		if unix.Waitid(unix.P_PID, pid, &si, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil) == nil && si.Signo != 0 {
			g.leaderEnded(k)
		}
	}
	for g.forking == nil {
		var status unix.WaitStatus
		var use unix.Rusage
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, &use)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			break
		}
		if k := g.kids[pid]; k != nil { // it ended just now
			g.reaped(k, status, use)
		}
	}
	for _, k := range g.groups {
		g.lookForRest(k)
	}
	return g.forking != nil
}

// leaderEnded is for one that ended and was not reaped.
func (g *guardian) leaderEnded(k *kid) {
	if !k.polite || g.ending {
		_ = k.signalGroup(unix.SIGKILL) // k.killed stays: the leader was dead already
	}
	var status unix.WaitStatus
	var use unix.Rusage
	for {
		_, err := unix.Wait4(k.pid, &status, 0, &use)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return
		}
	}
	g.reaped(k, status, use)
}

func (g *guardian) reaped(k *kid, status unix.WaitStatus, use unix.Rusage) {
	delete(g.kids, k.pid)
	g.groups[k.id] = k
	g.report(report{Kind: reportExited, ID: k.id, Pid: k.pid, Status: uint32(status),
		User: use.Utime.Nano(), System: use.Stime.Nano(), MaxRSS: int64(use.Maxrss) << 10,
		OOM: status.Signaled() && status.Signal() == unix.SIGKILL && !k.killed && g.ooms.read() > k.ooms})
	if !k.polite || g.ending {
		_ = k.signalGroup(unix.SIGKILL)
	}
	g.lookForRest(k)
}

func (g *guardian) lookForRest(k *kid) {
	if k.signalGroup(0) == unix.ESRCH {
		delete(g.groups, k.id)
		delete(g.byID, k.id)
		if k.pidfd >= 0 {
			_ = unix.Close(k.pidfd)
		}
		g.report(report{Kind: reportGone, ID: k.id, Pid: k.pid})
	}
}

// end ends everything. It does not return.
func (g *guardian) end() {
	g.mu.Lock()
	g.ending = true
	for _, k := range g.byID {
		k.signal(unix.SIGKILL)
	}
	killChildren() // what left its group, too, although a leader may take its time to die
	g.some.Broadcast()
	late := g.forking
	g.mu.Unlock()
	if late != nil {
		g.giveUp(late)
	}
	select {} // the reaper exits
}

// finish is called when no descendant is left: each would be a child by now.
func (g *guardian) finish() {
	if g.sweep {
		if g.manager >= 0 {
			// It holds what it holds until it ended; the socket closed a little earlier.
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(g.manager), Events: unix.POLLIN}}, int(sweepPatience.Milliseconds()))
		}
		dir, name := os.Getenv(EnvDir), os.Getenv(EnvDomain)
		if names, _ := shiplap.Domains(dir); slices.Contains(names, name) {
			if d, err := shiplap.Join(name, &shiplap.Options{Dir: dir}); err == nil { // which sweeps
				_ = d.Close()
			}
		}
	}
	os.Exit(0)
}

const sweepPatience = 2 * time.Second

// killChildren kills those whose parent we are; what they leave behind comes to us next.
func killChildren() {
	self := os.Getpid()
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		if pid, ppid := parentIn(path); ppid == self {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// parentIn reads a file like /proc/1/stat; zeros say that the process is gone.
func parentIn(path string) (pid, ppid int) {
	b, _ := os.ReadFile(path)
	text := string(b)
	pid, _ = strconv.Atoi(strings.Fields(text + " x")[0])
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // the name before may contain anything
	if len(fields) < 2 {
		return 0, 0
	}
	ppid, _ = strconv.Atoi(fields[1])
	return pid, ppid
}
