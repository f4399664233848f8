package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/segment"
	procs "github.com/shiplap-ipc/shiplap/proc"
)

// place is where a command looks: the persistent flags.
type place struct{ dir, domain string }

const startedKey = "started"

func newRootCmd() *cobra.Command {
	at := &place{}
	root := &cobra.Command{
		Use:   "shiplap",
		Short: "Processes share memory: queues and pipes that survive kill -9",
		Long: `Shiplap lets processes on one host share memory and talk through it. There is no daemon: an
object is a file on a tmpfs, and any process may be killed at any moment without harm to the rest.

Objects live in a domain, a directory below --dir. Every command works in one domain.

` + exitCodes,
		Example: `  shiplap demo                                   see it work while processes get killed
  tar c . | shiplap pipe send src                in one terminal
  shiplap pipe recv src | tar x -C /tmp/copy     in another
  shiplap queue create jobs                      a queue, and then
  seq 1000000 | shiplap queue put jobs
  shiplap queue get jobs --follow`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.PersistentFlags().StringVar(&at.domain, "domain", ownDomain(), "domain to work in: $"+procs.EnvDomain+", or "+shiplap.DefaultDomain)
	root.PersistentFlags().StringVar(&at.dir, "dir", "", "directory below which domains lie (default $SHIPLAP_DIR or "+segment.DefaultBase+")")
	root.MarkPersistentFlagDirname("dir")
	root.RegisterFlagCompletionFunc("domain", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		names, _ := shiplap.Domains(at.dir)
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	groups := []struct {
		id, title string
		cmds      []*cobra.Command
	}{
		{"move", "Move data:", []*cobra.Command{newQueueCmd(at), newPipeCmd(at), newTopicCmd(at), newChannelCmd(at), newCallCmd(at)}},
		{"values", "Share values:", []*cobra.Command{newValueCmd(at), newArrayCmd(at), newStoreCmd(at)}},
		{"raw", "Memory shared with others:", []*cobra.Command{newShmCmd(), newSysvCmd()}},
		{"procs", "Run processes:", []*cobra.Command{newRunCmd(at), newPsCmd(at), newStartCmd(at), newStopCmd(at), newRestartCmd(at), newSignalCmd(at)}},
		{"sync", "Take turns:", []*cobra.Command{newLockCmd(at), newSemCmd(at)}},
		{"look", "Look around:", []*cobra.Command{newLsCmd(at), newStatCmd(at), newLocksCmd(at), newMembersCmd(at), newDoctorCmd(at)}},
		{"clean", "Clean up:", []*cobra.Command{newRmCmd(at), newSweepCmd(at)}},
		{"try", "Try it:", []*cobra.Command{newDemoCmd(at), newBenchCmd()}},
	}
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, c := range g.cmds {
			c.GroupID = g.id
			root.AddCommand(c)
		}
	}
	root.AddCommand(newDemoChildCmd(at))
	markStarted(root)
	return root
}

// markStarted has every command below c note that its flags and arguments were accepted.
func markStarted(c *cobra.Command) {
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			cmd.Annotations = map[string]string{startedKey: "yes"}
			return run(cmd, args)
		}
	}
	for _, sub := range c.Commands() {
		markStarted(sub)
	}
}

// started reports whether the arguments were accepted and the command itself ran.
func started(cmd *cobra.Command) bool { return cmd.Annotations[startedKey] != "" }

// group makes a command that only has subcommands; unlike cobra's own it refuses unknown ones.
func group(use, short, long string, cmds ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q for %q", args[0], cmd.CommandPath())
			}
			return cmd.Help()
		},
	}
	c.AddCommand(cmds...)
	return c
}

// join enters the domain, making it if need be, and sweeps what the dead left.
func (p *place) join() (*shiplap.Domain, error) {
	return shiplap.Join(p.domain, &shiplap.Options{Dir: p.dir})
}

// find enters the domain only if it exists.
func (p *place) find() (*shiplap.Domain, error) {
	return p.enter(shiplap.Join, &shiplap.Options{Dir: p.dir})
}

// quiet is find without a sweep.
func (p *place) quiet() (*shiplap.Domain, error) {
	return p.enter(shiplap.Join, &shiplap.Options{Dir: p.dir, NoSweep: true})
}

// look opens the domain only if it exists, to look at it: not as a member, and without write access if
// need be.
func (p *place) look() (*shiplap.Domain, error) {
	d, err := p.enter(shiplap.Look, &shiplap.Options{Dir: p.dir})
	if errors.Is(err, shiplap.ErrNotExist) && !errors.Is(err, errNoDomain) { // a directory in which nobody was yet
		return p.quiet()
	}
	return d, err
}

// errNoDomain is an ErrNotExist of its own.
var errNoDomain = fmt.Errorf("no such domain: %w", shiplap.ErrNotExist)

func (p *place) enter(as func(string, *shiplap.Options) (*shiplap.Domain, error), opt *shiplap.Options) (*shiplap.Domain, error) {
	base := segment.Base(p.dir)
	if _, err := segment.FileName(p.domain); err != nil {
		return nil, fmt.Errorf("domain: %w", err)
	}
	if _, err := os.Stat(base); err == nil { // else Join says best what is wrong
		names, err := shiplap.Domains(p.dir)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(names, p.domain) {
			return nil, fmt.Errorf("domain %q below %s: %w", p.domain, base, errNoDomain)
		}
	}
	return as(p.domain, opt)
}

// ownDomain is that of the process manager which started us, if one did.
func ownDomain() string {
	if d := os.Getenv(procs.EnvDomain); d != "" {
		return d
	}
	return shiplap.DefaultDomain
}

// empty reports that err only says that nobody used the default domain yet: an empty domain then.
func (p *place) empty(err error) bool {
	return p.domain == ownDomain() && errors.Is(err, errNoDomain)
}

// names completes the names of objects of a kind, or of any.
func (p *place) names(kind string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		d, err := p.look()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer d.Close()
		var names []string
		list, _ := d.List()
		for _, o := range list {
			if (kind == "" || o.Kind == kind) && !slices.Contains(args, o.Name) {
				names = append(names, o.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// first completes only the first argument with f, the others with files.
func first(f cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, s string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return f(cmd, args, s)
	}
}
