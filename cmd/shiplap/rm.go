package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
)

func newRmCmd(at *place) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "rm NAME…",
		Short: "Remove objects",
		Long: `Remove objects at once, with all that is in them. Processes that have one open get an error that says so. An object
with a damaged header is removed too.`,
		Example:           `  shiplap rm jobs results`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: at.names(""),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := at.find()
			if err != nil {
				if force && errors.Is(err, errNoDomain) {
					return nil
				}
				return err
			}
			defer d.Close()
			var failed error
			for _, name := range args {
				err := d.Remove(cmd.Context(), name)
				if force && errors.Is(err, shiplap.ErrNotExist) {
					err = nil
				}
				failed = errors.Join(failed, err)
			}
			return failed
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "fine if there is none")
	return cmd
}
