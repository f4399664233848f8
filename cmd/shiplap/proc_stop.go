package main

import (
	"context"

	"github.com/spf13/cobra"

	procs "github.com/shiplap-ipc/shiplap/proc"
)

func newStopCmd(at *place) *cobra.Command {
	return newOrderCmd(at, &cobra.Command{
		Use:   "stop NAME…",
		Short: "Stop processes of a running manager",
		Long: `Have a running manager stop processes, those first that start after others, and wait until they are at rest. Who
does not stop in the time it has is killed, with its whole process group. They are not restarted before somebody starts
them; the manager goes on.`,
		Example: `  shiplap stop web
  shiplap stop --all`,
	}, func(ctx context.Context, c *procs.Client, names []string) error {
		_, err := c.Stop(ctx, names...)
		return err
	})
}
