package main

import (
	"fmt"
	"os/user"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap/sysv"
)

// sysvListed is a segment with what the kernel does not say.
type sysvListed struct {
	*sysv.Info
	Mode         string `json:"mode"` // octal
	Owner        string `json:"owner"`
	CreatorAlive bool   `json:"creator_alive"`
	LastAlive    bool   `json:"last_alive"`
	LeftOver     bool   `json:"left_over"`
}

func newSysvLsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List System V segments",
		Long: `List the System V segments of this IPC namespace, also those that you may not read: who made each, who attached
or detached it last, and how many times it is attached. A process may be dead.

"left over" is a segment that nobody has attached, made and last used by processes that are dead. "removed" is one that
goes with its last attachment. "locked" is one that is not swapped out.`,
		Example: `  shiplap sysv ls
  shiplap sysv ls --json`,
		Args: cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := sysv.List()
		if err != nil {
			return err
		}
		list := []sysvListed{}
		for _, i := range all {
			list = append(list, sysvListed{i, permissions(i.Mode), userName(i.UID), runs(i.CreatorPID), runs(i.LastPID), leftOver(i)})
		}
		if *asJSON {
			return writeJSON(cmd, list)
		}
		if len(list) == 0 {
			fmt.Fprintln(cmd.ErrOrStderr(), "no segments; shiplap sysv writer makes one")
			return nil
		}
		t := newTable(cmd.OutOrStdout(), "ID", "KEY", "OWNER", "MODE", "SIZE", "ATTACHED", "MADE BY", "LAST USED BY", "CHANGED", "STATUS")
		for _, l := range list {
			t.row(strconv.Itoa(int(l.ID)), l.Key.String(), l.Owner, l.Mode, formatSize(l.Size), strconv.Itoa(l.Attachments),
				pidText(l.CreatorPID), pidText(l.LastPID), ago(l.Changed), l.status())
		}
		return t.Flush()
	}
	return cmd
}

func (l *sysvListed) status() string {
	var s []string
	switch {
	case l.Removed:
		s = append(s, "removed")
	case l.LeftOver:
		s = append(s, "left over")
	}
	if l.Locked {
		s = append(s, "locked")
	}
	return strings.Join(s, ", ")
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}
