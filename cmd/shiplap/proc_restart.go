package main

import (
	"context"

	"github.com/spf13/cobra"

	procs "github.com/shiplap-ipc/shiplap/proc"
)

func newRestartCmd(at *place) *cobra.Command {
	return newOrderCmd(at, &cobra.Command{
		Use:   "restart NAME…",
		Short: "Restart processes of a running manager",
		Long: `Have a running manager stop processes and start them again, in the order in which they need each other, and wait until
they are ready. What does not run is started. The restarts that shiplap ps counts are those after crashes; this one
begins a new count.`,
		Example: `  shiplap restart web`,
	}, func(ctx context.Context, c *procs.Client, names []string) error {
		_, err := c.Restart(ctx, names...)
		return err
	})
}
