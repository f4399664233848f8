package main

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/shm"
)

func newShmCmd() *cobra.Command {
	return group("shm", "POSIX shared memory, as Python's SharedMemory",
		`Make, show, read and write POSIX shared memory: plain files in /dev/shm that any program may map, such as
those of Python's multiprocessing.shared_memory and of shm_open(3). Domains and --dir play no part here;
$SHIPLAP_SHM_DIR names another directory than /dev/shm, where Python does not look.`,
		newShmCreateCmd(), newShmLsCmd(), newShmReadCmd(), newShmWriteCmd(), newShmHexdumpCmd(), newShmRmCmd())
}

// shmHint adds the next step to an error of package shm.
func shmHint(name string, err error) error {
	switch {
	case err == nil, errors.Is(err, shiplap.ErrName), errors.Is(err, shiplap.ErrNoSpace):
		return err
	case errors.Is(err, shiplap.ErrNotExist):
		return exitError{err, exitNotFound, "shiplap shm ls shows what there is"}
	case errors.Is(err, shiplap.ErrExist):
		return exitError{err, exitFailure, "use it as it is, or shiplap shm rm " + name}
	case errors.Is(err, shiplap.ErrBusy):
		return exitError{err, exitTimeout, "try again, or shiplap shm rm " + name}
	}
	return exitError{err, exitFailure, ""}
}

// withShm runs f with an attached segment and closes it again.
func withShm(name string, readOnly bool, f func(*shm.Segment) error) error {
	s, err := shm.Attach(name, &shm.Options{ReadOnly: readOnly})
	if err != nil {
		return shmHint(name, err)
	}
	return errors.Join(f(s), s.Close())
}

func shmNames(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	list, _ := shm.List(nil)
	var names []string
	for _, i := range list {
		if i.Kind != shm.KindPrivate && !slices.Contains(args, i.Name) {
			names = append(names, i.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func shmName(cmd *cobra.Command, args []string, s string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return shmNames(cmd, args, s)
}

// extent is which part of a segment a command is about.
type extent struct {
	offset, length size
}

func (e *extent) flags(cmd *cobra.Command, what string) {
	cmd.Flags().VarP(&e.offset, "offset", "o", "first `byte` to "+what)
	cmd.Flags().VarP(&e.length, "length", "n", "at most so many `bytes` (default: to the end)")
}

// of is the part of a segment that is meant: from its first byte to behind its last one.
func (e *extent) of(cmd *cobra.Command, s *shm.Segment) (from, to int64, err error) {
	from, to = int64(e.offset), s.Size()
	if from > to {
		return 0, 0, exitError{beyond(s, from, 0), exitFailure, ""}
	}
	if cmd.Flags().Changed("length") {
		to = from + min(int64(e.length), to-from)
	}
	return from, to, nil
}
