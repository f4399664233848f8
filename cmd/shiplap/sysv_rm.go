package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/sysv"
)

func newSysvRmCmd() *cobra.Command {
	var keys []string
	var orphans, dry bool
	cmd := &cobra.Command{
		Use:   "rm [ID…]",
		Short: "Remove System V segments",
		Long: `Remove segments, by id or by key. The key is free at once; who has the segment attached keeps the
memory, until the last one has detached.

--orphans removes those of your own that "shiplap sysv ls" calls left over. A segment that
was made beforehand, by a command that ended, for programs that are not running yet, looks just
like that: see with --dry-run first.`,
		Example: `  shiplap sysv rm 5
  shiplap sysv rm --key 0x41013f2a
  shiplap sysv rm --orphans --dry-run`,
		ValidArgsFunction: segmentIDs,
	}
	f := cmd.Flags()
	f.StringSliceVar(&keys, "key", nil, "the segment with this `KEY`, as ipcs shows it")
	f.BoolVar(&orphans, "orphans", false, "your own that are left over")
	f.BoolVarP(&dry, "dry-run", "n", false, "only say what would be removed")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args)+len(keys) == 0 && !orphans {
			return usagef("which? Give ids, --key or --orphans")
		}
		found, failed, err := segments(args, keys)
		if err != nil {
			return err
		}
		if orphans {
			all, err := sysv.List()
			if err != nil {
				return err
			}
			for _, i := range all {
				if leftOver(i) && int(i.UID) == os.Geteuid() && !slices.ContainsFunc(found, func(f *sysv.Info) bool { return f.ID == i.ID }) {
					found = append(found, i)
				}
			}
		}
		for _, i := range found {
			switch {
			case dry:
				fmt.Fprintf(cmd.OutOrStdout(), "would remove %v\n", i)
				continue
			case orphans:
				fmt.Fprintf(cmd.OutOrStdout(), "removing %v\n", i)
			case i.Attachments > 0:
				fmt.Fprintf(cmd.ErrOrStderr(), "%v is attached %d times and goes with the last\n", i.ID, i.Attachments)
			}
			failed = append(failed, i.ID.Remove())
		}
		if err := errors.Join(failed...); err != nil {
			return sysvError(err, "shiplap sysv ls")
		}
		return nil
	}
	return cmd
}

// segments finds what is named, also where it may not be read. What is not there is in failed.
func segments(ids, keys []string) (found []*sysv.Info, failed []error, err error) {
	all, err := sysv.List()
	if err != nil {
		return nil, nil, err
	}
	add := func(what string, is func(*sysv.Info) bool) {
		if i := slices.IndexFunc(all, is); i >= 0 {
			found = append(found, all[i])
		} else {
			failed = append(failed, fmt.Errorf("%s: %w", what, shiplap.ErrNotExist))
		}
	}
	for _, text := range ids {
		id, err := strconv.Atoi(text)
		if err != nil {
			return nil, nil, usagef("%q is no id of a segment; keys go with --key", text)
		}
		add("segment "+text, func(i *sysv.Info) bool { return int(i.ID) == id })
	}
	for _, text := range keys {
		key, err := sysv.ParseKey(text)
		if err == nil && key == sysv.IPC_PRIVATE {
			err = errors.New("0 is IPC_PRIVATE, the key of many; give the id")
		}
		if err != nil {
			return nil, nil, usagef("--key: %w", err)
		}
		add("segment with key "+key.String(), func(i *sysv.Info) bool { return i.Key == key })
	}
	return found, failed, nil
}

// segmentIDs completes ids.
func segmentIDs(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	all, _ := sysv.List()
	var ids []string
	for _, i := range all {
		if id := strconv.Itoa(int(i.ID)); !slices.Contains(args, id) {
			ids = append(ids, id+"\t"+i.Key.String())
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
