package proc

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

// Policy says what becomes of a process that ended without being told to.
type Policy string

const (
	// Never leaves it at that. The default.
	Never Policy = "never"
	// OnFailure starts it again unless it exited with code 0.
	OnFailure Policy = "on-failure"
	// Always starts it again.
	Always Policy = "always"
)

// Readiness says when a process is ready: from then on those that are to start after it do.
type Readiness string

const (
	// ReadyAtStart: as soon as it runs. The default.
	ReadyAtStart Readiness = "start"
	// ReadyWord: when it says so, by Child.Ready or a line on $SHIPLAP_READY_FD.
	ReadyWord Readiness = "word"
	// ReadyProbe: when Spec.Probe returns nil, or Spec.ProbeCommand exits with code 0.
	ReadyProbe Readiness = "probe"
	// ReadyExit: when it exited with code 0, for jobs that prepare something.
	ReadyExit Readiness = "exit"
)

// Defaults of a Spec.
const (
	DefaultStopTimeout   = 10 * time.Second
	DefaultReadyTimeout  = 30 * time.Second
	DefaultProbeInterval = 100 * time.Millisecond
	DefaultProbeTimeout  = 5 * time.Second
	DefaultWindow        = time.Minute
)

// Spec is what a manager knows about a process before it runs.
type Spec struct {
	// Name of the process, unique in its manager, at most 100 bytes.
	Name string
	// Func is the name of a registered function to run in a copy of this program; or else
	// Command is a program and its arguments. The program is looked up in PATH.
	Func    string
	Command []string
	// Args are for the function (Child.Args), or stand behind Command.
	Args []string
	// Env are further variables, "KEY=value"; the last one of a name counts. The manager's own are inherited.
	Env []string
	// Dir is where it runs; "" is where the manager does.
	Dir string

	// Restart is the policy; "" is Never.
	Restart Policy
	// Backoff is how long to wait before restarts.
	Backoff Backoff
	// MaxRestarts in Window (0 is DefaultWindow) are made; then the process is given up: Failed. 0 is any number.
	MaxRestarts int
	Window      time.Duration

	// Ready says what being ready is; "" is ReadyAtStart, or ReadyProbe if there is a probe.
	Ready Readiness
	// Probe looks whether the process is ready. It is called every ProbeInterval (0 is DefaultProbeInterval) until it
	// returns nil, in the manager's process; its context ends with the attempt. Or else
	// ProbeCommand does so, by exiting with code 0: a program and its arguments, which runs where the process does, with its environment.
	Probe         func(ctx context.Context) error
	ProbeCommand  []string
	ProbeInterval time.Duration
	// ProbeTimeout is how long an attempt may take; 0 is DefaultProbeTimeout. A command is killed then, with its process group.
	ProbeTimeout time.Duration
	// ReadyTimeout is how long that may take (0 is DefaultReadyTimeout, with ReadyExit for ever; negative is for ever). A process that is not ready in
	// time is stopped, which counts as a failure.
	ReadyTimeout time.Duration
	// After names the processes that must be ready before this one is started for the first time.
	After []string

	// StopSignal asks it to stop; 0 is SIGTERM. Its whole process group gets it. In functions it ends the context.
	StopSignal syscall.Signal
	// StopTimeout is how long it and its group may take to end (0 is DefaultStopTimeout, negative is no time at all); then they get SIGKILL.
	StopTimeout time.Duration

	// ChannelCapacity is that of its channels (see Manager.Active), in bytes for each direction; 0 is DefaultChannelCapacity,
	// negative: it has none.
	ChannelCapacity int64

	// Limits of resources, which count from the program's first instruction.
	Limits Limits
	// Output is where its lines go; nil is where the manager's Options say. See PassThrough and io.Discard.
	Output io.Writer
}

// Backoff is how long to wait before the n-th restart in a row: First × Factor^(n-1), at most Max, more or less by up to
// the fraction Jitter of it. The zero value is 100 ms, doubling up to 30 s, by a tenth.
type Backoff struct {
	First  time.Duration
	Max    time.Duration
	Factor float64
	Jitter float64
	// Reset is how long a process must have run for its next restart to count as the first; 0 is 10 s.
	Reset time.Duration
}

// delay is for the n-th restart in a row, n from 1; random is in [0, 1).
func (b Backoff) delay(n int, random float64) time.Duration {
	d := float64(b.First)
	for range n - 1 {
		if d *= b.Factor; d >= float64(b.Max) {
			break
		}
	}
	d = min(d, float64(b.Max))
	d *= 1 + b.Jitter*(2*random-1)
	return time.Duration(max(d, 0))
}

func (b *Backoff) fill() error {
	set(&b.First, 100*time.Millisecond)
	set(&b.Max, max(30*time.Second, b.First))
	set(&b.Factor, 2)
	set(&b.Jitter, 0.1)
	set(&b.Reset, 10*time.Second)
	switch {
	case b.First < 0 || b.Max < b.First || b.Reset < 0:
		return fmt.Errorf("back-off from %v to %v, reset after %v: 0 <= First <= Max is wanted", b.First, b.Max, b.Reset)
	case !(b.Factor >= 1) || b.Factor > 1e6:
		return fmt.Errorf("back-off by a factor of %v: at least 1 is wanted", b.Factor)
	case !(b.Jitter >= 0 && b.Jitter <= 1):
		return fmt.Errorf("back-off with a jitter of %v: 0 to 1 is wanted", b.Jitter)
	}
	return nil
}

func set[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// maxProcName leaves room for what channels add to it.
const maxProcName = 100

func checkName(what, name string) error {
	if _, err := segment.FileName(name); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if len(name) > maxProcName {
		return fmt.Errorf("%s: %w: %d bytes, at most %d are allowed", what, errs.ErrName, len(name), maxProcName)
	}
	return nil
}

// CheckName says what is wrong with a name for a manager.
func CheckName(name string) error { return checkName("manager", name) }

// filled is a copy with defaults, or what is wrong with it.
func (s Spec) filled() (Spec, error) {
	if err := checkName("process", s.Name); err != nil {
		return s, err
	}
	bad := func(format string, args ...any) (Spec, error) {
		return s, fmt.Errorf("process %q: %w", s.Name, fmt.Errorf(format, args...))
	}
	s.Command, s.Args, s.Env, s.After = slices.Clone(s.Command), slices.Clone(s.Args), slices.Clone(s.Env), slices.Clone(s.After)
	s.ProbeCommand = slices.Clone(s.ProbeCommand)
	set(&s.Restart, Never)
	set(&s.Window, DefaultWindow)
	probed := s.Probe != nil || len(s.ProbeCommand) > 0
	if probed {
		set(&s.Ready, ReadyProbe)
	}
	set(&s.Ready, ReadyAtStart)
	set(&s.ProbeInterval, DefaultProbeInterval)
	set(&s.ProbeTimeout, DefaultProbeTimeout)
	if s.Ready == ReadyExit {
		set(&s.ReadyTimeout, -1) // a job takes its time
	}
	set(&s.ReadyTimeout, DefaultReadyTimeout)
	set(&s.StopSignal, syscall.SIGTERM)
	set(&s.ChannelCapacity, DefaultChannelCapacity)
	set(&s.StopTimeout, DefaultStopTimeout)
	if err := s.Backoff.fill(); err != nil {
		return bad("%w", err)
	}
	switch {
	case (s.Func == "") == (len(s.Command) == 0):
		return bad("either Func or Command is wanted")
	case s.Func != "" && !registered(s.Func):
		return bad("no function %q is registered: call proc.Register before proc.Init", s.Func)
	case s.Func == "" && s.Command[0] == "":
		return bad("the command is empty")
	case !slices.Contains([]Policy{Never, OnFailure, Always}, s.Restart):
		return bad("restart policy %q: never, on-failure or always is wanted", s.Restart)
	case !slices.Contains([]Readiness{ReadyAtStart, ReadyWord, ReadyProbe, ReadyExit}, s.Ready):
		return bad("readiness %q: start, word, probe or exit is wanted", s.Ready)
	case (s.Ready == ReadyProbe) != probed:
		return bad("readiness %q: a probe is wanted with probe, and only then", s.Ready)
	case s.Probe != nil && len(s.ProbeCommand) > 0:
		return bad("either Probe or ProbeCommand is wanted")
	case len(s.ProbeCommand) > 0 && s.ProbeCommand[0] == "":
		return bad("the command that probes is empty")
	case s.Ready == ReadyExit && s.Restart == Always:
		return bad("it is ready when it exits, and would be restarted then: use on-failure")
	case s.MaxRestarts < 0 || s.Window < 0 || s.ProbeInterval < 0 || s.ProbeTimeout < 0:
		return bad("%d restarts in %v, probes every %v for %v: negative", s.MaxRestarts, s.Window, s.ProbeInterval, s.ProbeTimeout)
	case s.StopSignal < 1 || s.StopSignal > 64:
		return bad("stop signal %d: 1 to 64 is wanted", int(s.StopSignal))
	case slices.Contains(s.After, s.Name):
		return bad("it cannot start after itself")
	}
	for _, text := range slices.Concat(s.Command, s.Args, s.Env, s.ProbeCommand, []string{s.Dir}) {
		if strings.IndexByte(text, 0) >= 0 {
			return bad("%q has a NUL byte in it", text)
		}
	}
	for _, kv := range s.Env {
		if i := strings.IndexByte(kv, '='); i <= 0 {
			return bad("environment %q: KEY=value is wanted", kv)
		}
	}
	if err := s.Limits.check(); err != nil {
		return bad("%w", err)
	}
	return s, nil
}

// Check is what Manager.Add would say of it, whatever else the manager has.
func (s Spec) Check() error {
	_, err := s.filled()
	return err
}

// argv is what ps shows.
func (s *Spec) argv(program string) []string {
	if s.Func != "" {
		return append([]string{program}, s.Args...)
	}
	return slices.Concat(s.Command, s.Args)
}
