package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	procs "github.com/shiplap-ipc/shiplap/proc"
)

func newPsCmd(at *place) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "Show the processes of all running managers",
		Long: `Show what the process managers of the domain run: "shiplap run", and programs that use package proc.

  STATE     stopped    never started, or told to stop
            waiting    for those it starts after
            starting   it runs, and is not ready yet
            running    it runs, and is ready
            stopping   told to stop
            backoff    it ended; it is restarted when its pause is over
            done       it ended with success, for good
            failed     it failed, for good
  FOR       how long it has been in that state
  RESTARTS  after crashes, since somebody started it; "3 in a row" is a crash loop
  LAST      how it ended last, or why it failed`,
		Example: `  shiplap ps
  shiplap ps --json | jq '.[].processes[] | select(.phase == "failed") | .name'`,
		Args: cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all := []managed{}
		d, err := at.find()
		if err == nil {
			defer d.Close()
			all, err = askManagers(cmd.Context(), d)
		}
		if err != nil && !errors.Is(err, errNoDomain) {
			return err
		}
		if *asJSON {
			return writeJSON(cmd, all)
		}
		if len(all) == 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "no process manager runs in domain %q\n", at.domain)
			return nil
		}
		return printProcesses(cmd, all)
	}
	return cmd
}

func printProcesses(cmd *cobra.Command, all []managed) error {
	t := newTable(cmd.OutOrStdout(), "MANAGER", "NAME", "STATE", "READY", "PID", "FOR", "RESTARTS", "LAST", "COMMAND")
	var failed error
	for _, m := range all {
		if m.err != nil {
			failed = errors.Join(failed, m.err)
			t.row(m.Manager, "-", "no answer")
		}
		for _, s := range m.Processes {
			t.row(m.Manager, s.Name, string(s.Phase), readyWord(s), dash(nonZero(s.Pid)), ago(s.Since), restarts(s), dash(last(s)), oneLine(strings.TrimPrefix(s.Target, shellPrefix)))
		}
	}
	return errors.Join(t.Flush(), failed)
}

func readyWord(s procs.State) string {
	switch {
	case s.Phase == procs.Running:
		return "yes"
	case s.Phase.AtRest():
		return "-"
	}
	return "no"
}

func nonZero(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func restarts(s procs.State) string {
	text := fmt.Sprint(s.Restarts)
	if s.InARow > 1 {
		text += fmt.Sprintf(" (%d in a row)", s.InARow)
	}
	if s.Phase == procs.Pausing {
		text += fmt.Sprintf(", next in %v", max(time.Until(s.Next), 0).Round(100*time.Millisecond))
	}
	return text
}

// last is how it ended, or why it failed, which mostly says so, too.
func last(s procs.State) string {
	switch {
	case s.Phase == procs.Failed && s.Problem != "":
		return oneLine(strings.TrimPrefix(s.Problem, procs.ErrFailed.Error()+": "))
	case s.Last != nil && s.Last.Wanted && s.Last.Forced:
		return oneLine(s.Last.String())
	case s.Last != nil && s.Last.Wanted:
		return "stopped"
	case s.Last != nil:
		return oneLine(s.Last.String())
	}
	return ""
}

const widest = 60

// oneLine is text for a cell.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > widest {
		return string(r[:widest-1]) + "…"
	}
	return s
}
