package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap/shm"
)

func newShmCreateCmd() *cobra.Command {
	var n size
	var mode string
	opt := &shm.Options{}
	cmd := &cobra.Command{
		Use:   "create [NAME]",
		Short: "Make a segment of zero bytes",
		Long: `Make a segment of exactly --size zero bytes and print its name; without NAME it gets one as Python gives.
Its memory is reserved now, so that a full /dev/shm is an error now and not a crash later. It stays
until it is removed: shiplap shm rm.

A Python process removes the segments that it attached to when it ends, unless it runs 3.13 or later and
says track=False. With --keep the command stays, and puts the name back whenever somebody removes it,
until it is interrupted.`,
		Example: `  shiplap shm create frames --size 100M
  shiplap shm create frames --size 100M --keep &
  name=$(shiplap shm create --size 10)
  python3 -c "from multiprocessing.shared_memory import SharedMemory as S; print(bytes(S('$name').buf))"`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) == 1 {
				if name = args[0]; name == "" {
					return usagef("the name is empty; leave it out to get one")
				}
			}
			bits, err := strconv.ParseUint(mode, 8, 9)
			if err != nil {
				return usagef("--mode %q: write permission bits in octal, as in 0600", mode)
			}
			if n == 0 {
				return usagef("--size 0: at least 1 byte")
			}
			if bits == 0 {
				return usagef("--mode %s: nobody could ever attach", mode)
			}
			opt.Mode = fs.FileMode(bits)
			s, err := shm.Create(name, int64(n), opt)
			if err != nil {
				return shmHint(name, err)
			}
			return errors.Join(showShm(cmd, s, opt), s.Close())
		},
	}
	f := cmd.Flags()
	f.VarP(&n, "size", "s", "`size` in bytes, or as in 64K, 10M, 1G")
	f.StringVarP(&mode, "mode", "m", "0600", "permission `bits`, whatever the umask is")
	f.BoolVar(&opt.Huge, "huge", false, "ask for huge pages, and say what was got")
	f.BoolVar(&opt.Keep, "keep", false, "stay, and keep the name where it is until interrupted")
	cmd.MarkFlagRequired("size")
	return cmd
}

func showShm(cmd *cobra.Command, s *shm.Segment, opt *shm.Options) error {
	fmt.Fprintln(cmd.OutOrStdout(), s.Name())
	if opt.Huge {
		p, err := s.Pages()
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.ErrOrStderr(), p)
	}
	if !opt.Keep {
		return nil
	}
	if err := s.Hold(cmd.Context()); err != nil {
		return err
	}
	return context.Cause(cmd.Context())
}
