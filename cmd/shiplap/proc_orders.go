package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	procs "github.com/shiplap-ipc/shiplap/proc"
)

// managed is what a manager says about its processes, or why it says nothing.
type managed struct {
	Manager   string        `json:"manager"`
	Processes []procs.State `json:"processes"`
	Error     string        `json:"error,omitempty"`
	err       error
}

// managerPatience is how long a manager may take to say how things are.
const managerPatience = 5 * time.Second

// askManagers asks all managers of a domain.
func askManagers(ctx context.Context, d *shiplap.Domain) ([]managed, error) {
	names, err := procs.Managers(d)
	if err != nil {
		return nil, err
	}
	all := make([]managed, 0, len(names))
	for _, name := range names {
		m := managed{Manager: name, Processes: []procs.State{}}
		states, err := askManager(ctx, d, name)
		if errors.Is(err, shiplap.ErrNotExist) || errors.Is(err, shiplap.ErrPeerGone) {
			continue // it ended just now
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			m.err, m.Error = err, err.Error()
		}
		m.Processes = append(m.Processes, states...)
		all = append(all, m)
	}
	return all, nil
}

func askManager(ctx context.Context, d *shiplap.Domain, name string) ([]procs.State, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, managerPatience, fmt.Errorf("process manager %q does not answer within %v: is it stopped? %w", name, managerPatience, context.DeadlineExceeded))
	defer cancel()
	c, err := procs.Dial(ctx, d, name)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.States(ctx)
}

// targets are processes by manager.
type targets struct {
	managers []string // in the order in which they were named
	names    map[string][]string
}

var errNoManager = fmt.Errorf("no process manager runs: %w", shiplap.ErrNotExist)

// findTargets finds out whose processes are meant: NAME, or MANAGER/NAME. all are those of all managers, or of the one named. flags
// are for hints.
func findTargets(ctx context.Context, d *shiplap.Domain, manager string, args []string, all bool, flags string) (*targets, error) {
	managers, err := askManagers(ctx, d)
	if err != nil {
		return nil, err
	}
	if manager != "" {
		managers = slices.DeleteFunc(managers, func(m managed) bool { return m.Manager != manager })
	}
	if len(managers) == 0 {
		err := fmt.Errorf("domain %q: %w", d.Name(), errNoManager)
		if manager != "" {
			running, _ := procs.Managers(d)
			err = fmt.Errorf("domain %q: no process manager %q runs, but %q: %w", d.Name(), manager, running, shiplap.ErrNotExist)
		}
		return nil, exitError{err, exitNotFound, runHint(flags)}
	}
	t := &targets{names: map[string][]string{}}
	if all {
		for _, m := range managers {
			t.add(m.Manager)
		}
		return t, nil
	}
	var missing []string
	for _, arg := range args {
		owner, name, qualified := strings.Cut(arg, "/")
		if !qualified {
			owner, name = "", arg
		}
		var owners []string
		for _, m := range managers {
			if owner != "" && m.Manager != owner {
				continue
			}
			if m.err != nil && (owner != "" || len(managers) == 1) {
				return nil, m.err
			}
			if slices.ContainsFunc(m.Processes, func(s procs.State) bool { return s.Name == name }) {
				owners = append(owners, m.Manager)
			}
		}
		switch len(owners) {
		case 0:
			missing = append(missing, fmt.Sprintf("%q", arg))
		case 1:
			t.add(owners[0], name)
		default:
			return nil, exitError{fmt.Errorf("several managers have a process %q: %s", name, strings.Join(owners, ", ")), exitUsage,
				fmt.Sprintf("write one of %s/%s", strings.Join(owners, "/"+name+", "), name)}
		}
	}
	if len(missing) > 0 {
		return nil, exitError{fmt.Errorf("no process %s: %w", strings.Join(missing, ", "), shiplap.ErrNotExist), exitNotFound, "shiplap ps" + flags + " shows what there is"}
	}
	return t, nil
}

func (t *targets) add(manager string, names ...string) {
	if !slices.Contains(t.managers, manager) {
		t.managers = append(t.managers, manager)
	}
	t.names[manager] = append(t.names[manager], names...)
}

// newOrderCmd makes a command that tells managers to do something with processes.
func newOrderCmd(at *place, cmd *cobra.Command, what func(ctx context.Context, c *procs.Client, names []string) error) *cobra.Command {
	var manager string
	var all bool
	var timeout time.Duration
	f := cmd.Flags()
	f.StringVar(&manager, "manager", "", "only processes of this manager")
	f.BoolVarP(&all, "all", "a", false, "all processes, instead of names")
	f.DurationVarP(&timeout, "timeout", "t", 0, "do not wait longer than this for the end of it; it is done all the same")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case all && len(args) > 0:
			return usagef("names and --all do not go together")
		case !all && len(args) == 0:
			return usagef("which process? Name some, as shiplap ps shows them, or say --all")
		}
		return nil
	}
	cmd.ValidArgsFunction = at.processNames
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		d, err := at.managers()
		if err != nil {
			return err
		}
		defer d.Close()
		ctx := cmd.Context()
		if timeout > 0 {
			c, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done within %v; what was ordered goes on: %w", timeout, context.DeadlineExceeded))
			defer cancel()
			ctx = c
		}
		t, err := findTargets(ctx, d, manager, args, all, sameDomain(cmd))
		if err != nil && ctx.Err() != nil && cmd.Context().Err() == nil {
			return fmt.Errorf("nobody answers within %v, and nothing was ordered: %w", timeout, context.DeadlineExceeded)
		}
		if err != nil {
			return err
		}
		var failed error
		for _, m := range t.managers {
			failed = errors.Join(failed, t.tell(ctx, d, m, what))
		}
		if failed != nil && !isAny(failed, context.DeadlineExceeded, context.Canceled) {
			return exitError{failed, codeFor(failed, true), "shiplap ps" + sameDomain(cmd) + " shows how things are"}
		}
		return failed
	}
	return cmd
}

func (t *targets) tell(ctx context.Context, d *shiplap.Domain, manager string, what func(context.Context, *procs.Client, []string) error) error {
	c, err := procs.Dial(ctx, d, manager)
	if err != nil {
		return err
	}
	defer c.Close()
	return what(ctx, c, t.names[manager])
}

func runHint(flags string) string {
	return "shiplap run" + flags + " FILE starts one; another domain is chosen by --domain"
}

// managers enters the domain only if it exists: without it nobody manages anything.
func (p *place) managers() (*shiplap.Domain, error) {
	d, err := p.find()
	if errors.Is(err, errNoDomain) {
		return nil, exitError{fmt.Errorf("domain %q: %w", p.domain, errNoManager), exitNotFound, runHint("")}
	}
	return d, err
}

// processNames completes the names of processes.
func (p *place) processNames(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	d, err := p.quiet()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer d.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	all, _ := askManagers(ctx, d)
	var names []string
	for _, m := range all {
		for _, s := range m.Processes {
			name := s.Name
			if len(all) > 1 {
				name = m.Manager + "/" + name
			}
			if !slices.Contains(args, name) {
				names = append(names, name)
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
