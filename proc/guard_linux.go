package proc

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// guardianFD is where the guardian finds its socket.
const guardianFD = 3

// newGuard starts a guardian.
func newGuard(name, domain, dir string) (*guard, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "guardian")
	defer theirs.Close()
	conn, err := connOf(os.NewFile(uintptr(fds[0]), "guardian"))
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"shiplap-guardian", name}, Stderr: os.Stderr, ExtraFiles: []*os.File{theirs},
		Env: environ(nil, envRole+"="+roleGuardian, EnvDomain+"="+domain, EnvDir+"="+dir),
		// Away from the terminal, whose signals are for the manager.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("start the guardian: %w", err)
	}
	g := &guard{conn: conn, cmd: cmd, lives: map[uint64]*life{}, done: make(chan struct{})}
	go g.listen()
	return g, nil
}

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// newPipe makes a pipe whose reading end is waited for by the runtime's poller, and whose other end blocks, as programs expect.
func newPipe() (r, w *os.File, err error) {
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("pipe: %w", err)
	}
	_ = syscall.SetNonblock(fds[0], true)
	return os.NewFile(uintptr(fds[0]), "output"), os.NewFile(uintptr(fds[1]), "output"), nil
}
