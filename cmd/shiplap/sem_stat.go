package main

import (
	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap/lock"
)

func newSemStatCmd(at *place) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stat NAME",
		Short: "Show who has permits",
		Long: `Show how many permits the semaphore has, which processes have some, and who waits. It takes no lock and needs nobody
alive. Permits of the dead are shown as theirs until somebody asks for permits.`,
		Example: `  shiplap sem stat gpu
  shiplap sem stat gpu --json | jq .available`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(at.names("semaphore")),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p := &permits{at: at, name: args[0]}
		defer p.close()
		if err := p.open(); err != nil {
			return err
		}
		st, err := p.sem.Stats()
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd, struct {
				Name string `json:"name"`
				lock.SemaphoreStats
			}{p.name, st})
		}
		t := newTable(cmd.OutOrStdout())
		livingOf(p.d).printSemaphore(t, &st)
		return t.Flush()
	}
	return cmd
}
