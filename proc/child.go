package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// What a child finds in its environment: see the package's comment.
const (
	EnvDomain     = "SHIPLAP_DOMAIN"
	EnvDir        = "SHIPLAP_DIR"
	EnvManager    = "SHIPLAP_MANAGER"
	EnvProc       = "SHIPLAP_PROC"
	EnvRestarts   = "SHIPLAP_RESTARTS"
	EnvReadyFD    = "SHIPLAP_READY_FD"
	EnvStopSignal = "SHIPLAP_STOP_SIGNAL"
	EnvActive     = "SHIPLAP_ACTIVE"
	EnvPassive    = "SHIPLAP_PASSIVE"
)

// Between a manager and the copies of its program.
const (
	envRole   = "SHIPLAP_PROC_ROLE"
	envFunc   = "SHIPLAP_PROC_FUNC"
	envExec   = "SHIPLAP_PROC_EXEC"
	envLimits = "SHIPLAP_PROC_LIMITS"

	roleGuardian = "guardian"
	roleFunc     = "func"
	roleExec     = "exec" // take the limits on, and become the command
)

// Codes with which a copy exits that cannot do what it is for, as shells have them.
const (
	exitNotRunnable = 126
	exitNotFound    = 127
)

// Func is a function that runs as a process. Its context ends when it is to stop. Returning nil, or the context's error then,
// is exit code 0; another error is written to standard error, and is exit code 1, or what its method ExitCode() int says.
type Func func(ctx context.Context, self *Child) error

var (
	functions   sync.Map // name → Func
	initialised atomic.Bool
)

// Register names a function that processes can run. Call it before Init, in every copy of the program alike. It panics when the
// name is taken.
func Register(name string, f Func) {
	if name == "" || f == nil {
		panic("proc.Register: a name and a function are wanted")
	}
	if _, taken := functions.LoadOrStore(name, f); taken {
		panic(fmt.Sprintf("proc.Register: %q is registered already", name))
	}
}

func registered(name string) bool {
	_, ok := functions.Load(name)
	return ok
}

// Init takes over if a manager started this copy of the program, and does not return then. Call it first thing in main (and
// TestMain), before flags are parsed.
func Init() {
	initialised.Store(true)
	role := os.Getenv(envRole)
	os.Unsetenv(envRole)
	switch role {
	case roleGuardian:
		os.Exit(runGuardian())
	case roleFunc:
		os.Exit(runFunc())
	case roleExec:
		os.Exit(runExec())
	}
}

// environ is our environment, changed: of each name the last one counts.
func environ(extra []string, more ...string) []string {
	all := slices.Concat(os.Environ(), extra, more)
	internal := []string{envRole, envFunc, envExec, envLimits, EnvReadyFD, EnvActive, EnvPassive}
	last := map[string]int{}
	key := func(kv string) string { k, _, _ := strings.Cut(kv, "="); return k }
	for i, kv := range all {
		last[key(kv)] = i
	}
	own := len(all) - len(more)
	var env []string
	for i, kv := range all {
		if last[key(kv)] == i && (i >= own || !slices.Contains(internal, key(kv))) {
			env = append(env, kv)
		}
	}
	return env
}

// identity is what the process finds about itself in its environment.
func (p *process) identity() []string {
	env := []string{
		EnvDomain + "=" + p.m.d.Name(), EnvDir + "=" + p.m.base, EnvManager + "=" + p.m.name, EnvProc + "=" + p.spec.Name,
		EnvRestarts + "=" + strconv.Itoa(p.state().Restarts), EnvStopSignal + "=" + strconv.Itoa(int(p.spec.StopSignal)),
	}
	if p.spec.ChannelCapacity > 0 {
		env = append(env, EnvActive+"="+p.spec.Name+activeSuffix, EnvPassive+"="+p.spec.Name+passiveSuffix)
	}
	return env
}

// wrap makes an order one that takes the limits on: functions do so themselves, for commands a copy of ours does.
func (l Limits) wrap(o order, function bool) order {
	if len(l) == 0 {
		return o
	}
	b, _ := json.Marshal(l) // a map of numbers
	o.Env = append(o.Env, envLimits+"="+string(b))
	if !function {
		o.Env = append(o.Env, envRole+"="+roleExec, envExec+"="+o.Path)
		o.Path = "/proc/self/exe"
	}
	return o
}

// takeLimits takes on what wrap says.
func takeLimits() error {
	text := os.Getenv(envLimits)
	os.Unsetenv(envLimits)
	if text == "" {
		return nil
	}
	var l Limits
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return err
	}
	if err := l.check(); err != nil {
		return err
	}
	return l.apply()
}

func runExec() (code int) {
	path := os.Getenv(envExec)
	os.Unsetenv(envExec)
	err := takeLimits()
	code = exitNotRunnable
	if err == nil {
		if err = syscall.Exec(path, os.Args, os.Environ()); errors.Is(err, syscall.ENOENT) {
			code = exitNotFound
		}
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
	return code
}

func runFunc() (code int) {
	name := os.Getenv(envFunc)
	os.Unsetenv(envFunc)
	fail := func(code int, err error) int {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return code
	}
	f, ok := functions.Load(name)
	if !ok {
		return fail(exitNotFound, errors.New("no such function is registered in this copy of the program: call proc.Register before proc.Init"))
	}
	if err := takeLimits(); err != nil {
		return fail(exitNotRunnable, err)
	}
	self, err := Self()
	if err != nil {
		return fail(exitNotRunnable, err)
	}
	ctx, stop := self.Context(context.Background())
	err = f.(Func)(ctx, self)
	wanted := ctx.Err() != nil && errors.Is(err, context.Canceled)
	stop()
	_ = self.Close()
	if err == nil || wanted {
		return 0
	}
	code = 1
	if c, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		code = c.ExitCode()
	}
	return fail(code, err)
}

// Child is this process as its manager started it. All methods may be called concurrently.
type Child struct {
	name, manager string
	restarts      int
	stop          syscall.Signal
	domain        *shiplap.Domain

	mu   sync.Mutex
	ends ends
	word *os.File // for Ready; nil when nobody waits for it, or was told
}

var self = sync.OnceValues(newChild)

// Self is this process, if a manager started it, and a member of the manager's domain; else shiplap.ErrNotExist. It is the same at every
// call. Functions get it as their argument.
func Self() (*Child, error) { return self() }

func newChild() (*Child, error) {
	c := &Child{name: os.Getenv(EnvProc), manager: os.Getenv(EnvManager)}
	if c.name == "" || c.manager == "" {
		return nil, fmt.Errorf("no process manager started this process ($%s is not set): %w", EnvProc, errs.ErrNotExist)
	}
	c.restarts, _ = strconv.Atoi(os.Getenv(EnvRestarts))
	if n, err := strconv.Atoi(os.Getenv(EnvStopSignal)); err == nil && n > 0 && n <= 64 {
		c.stop = syscall.Signal(n)
	} else {
		c.stop = syscall.SIGTERM
	}
	var err error
	if c.domain, err = shiplap.Join(os.Getenv(EnvDomain), &shiplap.Options{Dir: os.Getenv(EnvDir)}); err != nil {
		return nil, fmt.Errorf("process %q: %w", c.name, err)
	}
	if fd, err := strconv.Atoi(os.Getenv(EnvReadyFD)); err == nil && fd > 2 {
		os.Unsetenv(EnvReadyFD) // children of ours have it not
		syscall.CloseOnExec(fd)
		c.word = os.NewFile(uintptr(fd), "ready")
	}
	return c, nil
}

// Name is the name of the process, and Manager that of its manager.
func (c *Child) Name() string { return c.name }

// Manager is the name of the manager.
func (c *Child) Manager() string { return c.manager }

// Restarts is how often the process was restarted after a crash.
func (c *Child) Restarts() int { return c.restarts }

// Args are the process's arguments.
func (c *Child) Args() []string { return slices.Clone(os.Args[1:]) }

// Domain is the manager's domain. It is closed by Close.
func (c *Child) Domain() *shiplap.Domain { return c.domain }

// Context ends when the manager asks the process to stop, or on SIGINT. Functions get one. stop gives the signals their usual meaning
// back.
func (c *Child) Context(parent context.Context) (ctx context.Context, stop context.CancelFunc) {
	return signal.NotifyContext(parent, c.stop, syscall.SIGINT)
}

// Ready says that the process is ready. Without Ready: ReadyWord in its Spec that is no news to anybody, and once is enough.
func (c *Child) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.word == nil {
		return nil
	}
	_, err := c.word.WriteString("ready\n")
	err = errors.Join(err, c.word.Close())
	c.word = nil
	if err != nil {
		return fmt.Errorf("tell manager %q: %w", c.manager, err)
	}
	return nil
}

// Close closes the channels and the domain. After a function returned that is done for it.
func (c *Child) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.word != nil {
		_ = c.word.Close()
		c.word = nil
	}
	return errors.Join(c.ends.close(), c.domain.Close())
}

// String names the process.
func (c *Child) String() string { return fmt.Sprintf("process %q of manager %q", c.name, c.manager) }
