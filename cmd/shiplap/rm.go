package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

func newRmCmd(at *place) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "rm NAME…",
		Short: "Remove objects",
		Long: `Remove objects at once, with all that is in them. Processes that have one open get an error that says so. An object
with a damaged header is removed too. So is what is no object, after it was said what it is: a symbolic link, a
FIFO, a file that others may write to, an empty directory.`,
		Example:           `  shiplap rm jobs results`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: at.names(""),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := at.look()
			if err != nil {
				if force && errors.Is(err, errNoDomain) {
					return nil
				}
				return err
			}
			defer d.Close()
			var failed error
			for _, name := range args {
				if what := stranger(d, name); what != "" {
					fmt.Fprintf(cmd.ErrOrStderr(), "%q is %s, not an object\n", name, what)
				}
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

// stranger says what has the name if that can be no object, else "".
func stranger(d *shiplap.Domain, name string) string {
	file, err := segment.FileName(name)
	if err != nil {
		return ""
	}
	path := filepath.Join(d.Dir(), file)
	st, err := os.Lstat(path)
	if err != nil {
		return ""
	}
	switch mode := st.Mode(); {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeSymlink != 0:
		to, _ := os.Readlink(path)
		return fmt.Sprintf("a symbolic link to %q", to)
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case !mode.IsRegular():
		return "a device"
	case mode.Perm()&0o022 != 0:
		return fmt.Sprintf("a file of mode %04o, to which others may write", mode.Perm())
	}
	return ""
}
