package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
)

func newMembersCmd(at *place) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "members",
		Short: "List the processes of the domain",
		Long: `List the processes that joined the domain. Dead ones are those that did not leave and that nobody swept
yet: the next process that joins does.`,
		Example: `  shiplap members --json`,
		Args:    cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		members, err := at.members()
		if err != nil && !at.empty(err) {
			return err
		}
		if *asJSON {
			return writeJSON(cmd, members)
		}
		t := newTable(cmd.OutOrStdout(), "PID", "STATE", "JOINED", "COMMAND")
		for _, m := range members {
			state := "alive"
			if !m.Alive {
				state = "dead"
			}
			t.row(strconv.Itoa(m.Pid), state, ago(m.Joined), m.Command)
		}
		return t.Flush()
	}
	return cmd
}

// members are those of the domain. This process is none: it only looks.
func (p *place) members() ([]shiplap.Process, error) {
	none := []shiplap.Process{}
	d, err := p.look()
	if err != nil {
		return none, err
	}
	defer d.Close()
	all, err := d.Members()
	return append(none, all...), err
}
