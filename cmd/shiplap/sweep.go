package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
)

func newSweepCmd(at *place) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "sweep",
		Short: "Remove what the dead left",
		Long: `Remove what provably nobody can use any more: temporary files of dead processes, objects made to go with their
users that have none, names of half-removed objects, entries of dead members. Processes do that by themselves
when they join. Also remove what can never be an object: symbolic links, FIFOs, sockets, empty directories.
Age plays no part: what cannot be proved dead is kept.`,
		Example: `  shiplap sweep --dry-run`,
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "only tell what would be removed")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		swept, err := at.sweep(cmd, dryRun)
		if err != nil && !at.empty(err) {
			return err
		}
		if *asJSON {
			return writeJSON(cmd, swept)
		}
		if len(swept) == 0 {
			fmt.Fprintln(cmd.ErrOrStderr(), "nothing to sweep")
			return nil
		}
		t := newTable(cmd.OutOrStdout(), "WHAT", "NAME", "SIZE")
		for _, s := range swept {
			t.row(s.What, s.Name, formatSize(s.Size))
		}
		return t.Flush()
	}
	return cmd
}

func (p *place) sweep(cmd *cobra.Command, dryRun bool) ([]shiplap.Swept, error) {
	d, err := p.look()
	if err != nil {
		return []shiplap.Swept{}, err
	}
	defer d.Close()
	swept, err := d.Sweep(cmd.Context(), dryRun)
	if swept == nil {
		swept = []shiplap.Swept{}
	}
	return swept, err
}
