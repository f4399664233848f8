package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/shm"
)

func newShmRmCmd() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "rm NAME…",
		Short: "Remove segments",
		Long: `Remove the names of segments. Processes that have one mapped keep its memory until they unmap it. A name that
shiplap shm create --keep holds comes back; interrupt that first.`,
		Example:           `  shiplap shm rm frames psm_b370a3a5`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: shmNames,
		RunE: func(_ *cobra.Command, args []string) error {
			var failed error
			for _, name := range args {
				err := shm.Unlink(name, nil)
				if force && errors.Is(err, shiplap.ErrNotExist) {
					err = nil
				}
				failed = errors.Join(failed, err)
			}
			return shmHint(args[0], failed)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "fine if there is none")
	return cmd
}
