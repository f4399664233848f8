package main

import (
	"context"

	"github.com/spf13/cobra"

	procs "github.com/shiplap-ipc/shiplap/proc"
)

func newStartCmd(at *place) *cobra.Command {
	return newOrderCmd(at, &cobra.Command{
		Use:   "start NAME…",
		Short: "Start processes of a running manager",
		Long: `Have a running manager start processes, and those that they start after, and wait until they are ready. What runs
already is left alone; what waits for its next restart is started now. MANAGER/NAME says whose, if several
managers have a process of that name.`,
		Example: `  shiplap start report
  shiplap start main/web main/worker`,
	}, func(ctx context.Context, c *procs.Client, names []string) error {
		_, err := c.Start(ctx, names...)
		return err
	})
}
