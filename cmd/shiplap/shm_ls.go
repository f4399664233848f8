package main

import (
	"fmt"
	"os/user"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap/shm"
)

type listedShm struct {
	shm.Info
	Owner string     `json:"owner"`
	Users []shm.User `json:"users"`
}

func newShmLsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List shared memory, whoever made it",
		Long: `List the plain files of /dev/shm: size, permissions, owner, since when it is there or was last written to
by write(2), and the processes that have it mapped, as far as they may be seen (root sees all).

Kinds, as the names tell: psm is named by Python or by shiplap shm create; semaphore is made by
sem_open(3), Python's locks among them; private is what shiplap itself holds beside a kept segment. A
size with a star is not reserved: writing to it may crash when /dev/shm is full.`,
		Example: `  shiplap shm ls
  shiplap shm ls --json | jq -r '.[] | select(.users == []) | .name'`,
		Args: cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := listShm()
		if err != nil {
			return shmHint("", err)
		}
		if *asJSON {
			return writeJSON(cmd, all)
		}
		return printShm(cmd, all)
	}
	return cmd
}

func listShm() ([]listedShm, error) {
	list, err := shm.List(nil)
	if err != nil {
		return nil, err
	}
	users, err := shm.Users(list)
	if err != nil {
		return nil, err
	}
	all := []listedShm{}
	for _, i := range list {
		l := listedShm{i, strconv.Itoa(int(i.UID)), users[i.ID()]}
		if u, err := user.LookupId(l.Owner); err == nil {
			l.Owner = u.Username
		}
		if l.Users == nil {
			l.Users = []shm.User{}
		}
		all = append(all, l)
	}
	return all, nil
}

// mostUsers is how many processes a line names.
const mostUsers = 6

func printShm(cmd *cobra.Command, all []listedShm) error {
	if len(all) == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "no shared memory; shiplap shm create --size 1M makes some")
		return nil
	}
	t := newTable(cmd.OutOrStdout(), "NAME", "KIND", "SIZE", "MODE", "OWNER", "AGE", "MAPPED BY")
	for _, l := range all {
		n := formatSize(l.Size)
		if l.Reserved < l.Size {
			n += "*"
		}
		var users []string
		for i, u := range l.Users {
			if i == mostUsers {
				users = append(users, fmt.Sprintf("and %d more", len(l.Users)-i))
				break
			}
			users = append(users, fmt.Sprintf("%d %s", u.Pid, printable(u.Command)))
		}
		t.row(printable(l.Name), l.Kind, n, fmt.Sprintf("%04o", l.Mode), l.Owner, ago(l.Changed), dash(strings.Join(users, ", ")))
	}
	return t.Flush()
}

// printable quotes a name that would upset a terminal or the table.
func printable(s string) string {
	if q := strconv.QuoteToGraphic(s); q != `"`+s+`"` {
		return q
	}
	return s
}
