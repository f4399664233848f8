package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	procs "github.com/shiplap-ipc/shiplap/proc"
)

// runExample is a file that runs as it is, and a test runs it.
//
//go:embed run_example.yaml
var runExample string

const defaultRunFile = "shiplap.yaml"

func newRunCmd(at *place) *cobra.Command {
	o := runOptions{}
	var check, example bool
	cmd := &cobra.Command{
		Use:   "run [FILE]",
		Short: "Run the processes that a file describes",
		Long: `Run the processes that a YAML file describes (` + defaultRunFile + `, if none is named; - is standard input), in the order in
which they need each other, restart them as it says, and show what they write with the name in front: "web | text" is
output, on the stream it came from; "web * text", on standard error, is what happens to it.

It ends when all processes ended by themselves: with exit code 1 if one failed for good, else 0. Ctrl-C, or SIGTERM,
stops all in reverse order, each with its time to do so, and the exit code is 130 (143); a second one kills. If it is
killed itself, by SIGKILL too, none of its processes survives, however they hide.

Meanwhile, in another terminal: shiplap ps, start, stop, restart, signal. The processes find the domain in their
environment ($SHIPLAP_DOMAIN, $SHIPLAP_DIR), so that commands of shiplap that they call work in it.

The file has these keys; only processes, and in each of them command, must be there:

  name: main            of the manager, for shiplap ps and the like
  domain: default       unless --domain is given
  env: {KEY: text}      for all processes
  processes:
    NAME:
      command           [program, argument…], or one line for the shell
      args              [argument…], behind the command
      env               {KEY: text}
      dir               where it runs; paths are relative to the file
      restart           never | on-failure | always, or
                        {policy, limit, window, first, max, factor, jitter, reset}: at most limit restarts in window;
                        wait first, then factor times as long each, at most max, more or less by the part jitter, until it
                        ran for reset
      ready             start | word | exit, or
                        {when | exec | tcp | unix | file, timeout, interval, attempt}: at once, when it writes a line to
                        $SHIPLAP_READY_FD, when it exited with code 0 (jobs); when a command succeeds, a port or socket
                        takes connections, a file exists
      after             [NAME…] that must be ready before
      stop              {signal: SIGTERM, timeout: 10s}
      limits            {open-files: 1024, address-space: 2G, …}
      channels          64K of room, or false for none
      output            named | raw | discard
      autostart         false: only when told to, or needed by another one
      watch             [path or pattern…]: with --watch, restart it when one of these changes
  x-…                   a place for &anchors

Times have units: 500ms, 10s, 1m30s.`,
		Example: `  shiplap run --example > shiplap.yaml    a complete file to begin with
  shiplap run --check                     is it right?
  shiplap run
  shiplap run --watch dev.yaml            restart what changed, while you edit
  shiplap ps                              in another terminal`,
		Args: cobra.MaximumNArgs(1),
	}
	f := cmd.Flags()
	f.BoolVar(&check, "check", false, "only look whether the file is right")
	f.BoolVar(&example, "example", false, "only print a complete example of a file")
	f.BoolVarP(&o.watch, "watch", "w", false, "restart processes whose watched files changed, and follow changes of FILE itself")
	f.BoolVar(&o.failFast, "fail-fast", false, "stop everything as soon as one process failed for good")
	f.StringVar(&o.name, "name", "", "`name` of the manager, instead of that in the file")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "show output only, not what happens to the processes")
	cmd.MarkFlagsMutuallyExclusive("check", "example", "watch")
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if example {
			_, err := fmt.Fprint(cmd.OutOrStdout(), runExample)
			return err
		}
		o.path = defaultRunFile
		if len(args) == 1 {
			o.path = args[0]
		}
		if o.watch && o.path == "-" {
			return usagef("--watch wants a file that has a name")
		}
		file, err := readRunFile(o.path, cmd.InOrStdin())
		if errors.Is(err, os.ErrNotExist) && len(args) == 0 {
			return exitError{err, exitNotFound, "name a file, or: shiplap run --example > " + defaultRunFile}
		}
		if err != nil {
			return err
		}
		if check {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, as it should be\n", file.path, several(len(file.procs), "process", "processes"))
			return err
		}
		if o.name != "" {
			file.name = o.name
		}
		p := *at
		if file.domain != "" && !cmd.Flag("domain").Changed {
			p.domain = file.domain
		}
		d, err := p.join()
		if err != nil {
			return err
		}
		return errors.Join(newRunner(d, file, o).run(), d.Close())
	}
	return cmd
}

func several(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}

type runOptions struct {
	path                   string
	name                   string
	watch, failFast, quiet bool
}

// runner runs a file.
type runner struct {
	d    *shiplap.Domain
	file *runFile
	opt  runOptions
	out  *printer
	m    *procs.Manager
	wake chan struct{} // something happened

	applied chan struct{} // closed when the last change of the file is done; nil before the first
	atOnce  sync.Map      // names of those that are ready when they start: no news
}

func newRunner(d *shiplap.Domain, file *runFile, o runOptions) *runner {
	return &runner{d: d, file: file, opt: o, wake: make(chan struct{}, 1)}
}

func (r *runner) names(which func(runProc) bool) (names []string) {
	for _, p := range r.file.procs {
		if which(p) {
			names = append(names, p.spec.Name)
		}
	}
	return names
}

func (r *runner) run() (err error) {
	sigs := takeSignals()
	defer signal.Stop(sigs)
	r.out = newPrinter(append(r.names(func(runProc) bool { return true }), "shiplap"))
	var stopped interrupted
	defer func() {
		if stopped.sig == 0 {
			r.out.close(0)
		} else {
			r.out.close(grace)
		}
	}()
	r.m, err = procs.New(r.d, &procs.Options{Name: r.file.name, Output: procs.Lines(r.out.output), Logger: slog.New(slog.NewTextHandler(r.out, nil))})
	if errors.Is(err, shiplap.ErrExist) {
		return exitError{err, exitTimeout, "shiplap ps shows what it runs; another one needs another name: shiplap run --name NAME"}
	}
	if err != nil {
		return err
	}
	w, err := r.start()
	if err != nil {
		return errors.Join(err, r.m.Close())
	}
	stopped = r.until(sigs, w)
	if w != nil {
		w.close()
	}
	if err := errors.Join(r.stop(sigs), r.failures()); err != nil {
		return err
	}
	if stopped.sig == syscall.SIGPIPE {
		return fmt.Errorf("standard output: %w", syscall.EPIPE)
	}
	if stopped.sig != 0 {
		return quietExit(stopped.code())
	}
	return nil
}

// start starts what is to run. The watcher is nil if nothing is to be watched.
func (r *runner) start() (w *watcher, err error) {
	r.m.OnEvent(r.event)
	for _, p := range r.file.procs {
		if err := r.add(r.file.path, p); err != nil {
			return nil, err
		}
	}
	if r.opt.watch {
		if w, err = newWatcher(r.watched()); err != nil {
			return nil, err
		}
	}
	if start := r.names(func(p runProc) bool { return !p.manual }); len(start) > 0 {
		r.background(func() error { return r.m.Start(context.Background(), start...) })
	}
	return w, nil
}

func (r *runner) add(path string, p runProc) error {
	s := p.complete()
	r.atOnce.Store(s.Name, (s.Ready == "" || s.Ready == procs.ReadyAtStart) && s.Probe == nil && s.ProbeCommand == nil)
	err := r.m.Add(s)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s:%d: %w", path, p.line, err)
	if errors.Is(err, shiplap.ErrExist) {
		return exitError{err, exitFailure, "shiplap ps shows other managers; give the process another name, or write channels: false, or take another --domain"}
	}
	return err
}

// takeSignals takes signals over from main, but for those that we were started to ignore (nohup).
func takeSignals() chan os.Signal {
	sigs := make(chan os.Signal, 8)
	ignored := ignoredSignals()
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if ignored&(1<<(s-1)) == 0 {
			signal.Reset(s)
			signal.Notify(sigs, s)
		}
	}
	return sigs
}

// background does what the loop must not wait for. Events tell what goes wrong with a process; the rest is told here.
func (r *runner) background(f func() error) {
	go func() {
		if err := f(); err != nil && !isAny(err, procs.ErrFailed, shiplap.ErrClosed) {
			r.out.note("shiplap", err.Error())
		}
	}()
}

// until returns when all is over, or there is a reason to stop.
func (r *runner) until(sigs <-chan os.Signal, w *watcher) (why interrupted) {
	for {
		select {
		case s := <-sigs:
			return interrupted{s.(syscall.Signal)}
		case <-r.out.broken:
			return interrupted{syscall.SIGPIPE}
		case changed := <-w.changes():
			r.changed(changed, w)
		case <-r.wake:
			states := r.m.States()
			failed := slices.ContainsFunc(states, func(s procs.State) bool { return s.Phase == procs.Failed })
			if r.opt.failFast && failed || w == nil && r.over(states) {
				return interrupted{}
			}
		}
	}
}

// over reports whether all processes ended by themselves. What somebody stopped may be started again.
func (r *runner) over(states []procs.State) bool {
	for _, s := range states {
		i := slices.IndexFunc(r.file.procs, func(p runProc) bool { return p.spec.Name == s.Name })
		unused := s.Phase == procs.Stopped && s.Last == nil && i >= 0 && r.file.procs[i].manual
		if s.Phase != procs.Done && s.Phase != procs.Failed && !unused {
			return false
		}
	}
	return true
}

// stop stops all; at another signal by force.
func (r *runner) stop(sigs <-chan os.Signal) error {
	done := make(chan error, 1)
	go func() { done <- r.m.Close() }()
	for same := time.After(sameSignal); same != nil; {
		select {
		case err := <-done:
			return err
		case <-sigs:
		case <-same:
			same = nil
		}
	}
	select {
	case err := <-done:
		return err
	case <-sigs:
		r.out.note("shiplap", "killing all")
		r.m.Kill()
		return <-done
	}
}

// sameSignal is how long another signal is the same one: some send it to us and to our process group.
const sameSignal = 200 * time.Millisecond

// failures is an error if something failed for good.
func (r *runner) failures() error {
	var failed []error
	for _, s := range r.m.States() {
		if s.Phase == procs.Failed {
			failed = append(failed, fmt.Errorf("process %q: %s", s.Name, s.Problem))
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return exitError{errors.Join(failed...), exitFailure, ""}
}

// event is called for all that happens, by who makes it happen.
func (r *runner) event(e procs.Event) {
	atOnce, _ := r.atOnce.Load(e.Process)
	if !r.opt.quiet && e.Kind != procs.EventStopped && e.Kind != procs.EventDone && (e.Kind != procs.EventReady || atOnce != true) {
		text := strings.TrimPrefix(e.String(), e.Process+" ")
		r.out.note(e.Process, text)
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
