package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap/shm"
)

const shmChunk = 1 << 20

func newShmReadCmd() *cobra.Command {
	var part extent
	cmd := &cobra.Command{
		Use:   "read NAME",
		Short: "Write a segment's bytes to standard output",
		Long: `Write the bytes of a segment to standard output, as they are. What others store meanwhile may be in it or
not.`,
		Example: `  shiplap shm read frames > frames.bin
  shiplap shm read frames --offset 4K --length 16 | od -t x4`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: shmName,
	}
	part.flags(cmd, "read")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withShm(args[0], true, func(s *shm.Segment) error {
			from, to, err := part.of(cmd, s)
			if err != nil {
				return err
			}
			return eachChunk(cmd.Context(), s, from, to, func(_ int64, b []byte) error {
				_, err := cmd.OutOrStdout().Write(b)
				return err
			})
		})
	}
	return cmd
}

// eachChunk copies a part of a segment, piece by piece.
func eachChunk(ctx context.Context, s *shm.Segment, from, to int64, f func(off int64, b []byte) error) error {
	buf := make([]byte, min(shmChunk, to-from))
	for from < to {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b := buf[:min(int64(len(buf)), to-from)]
		if _, err := s.ReadAt(b, from); err != nil && err != io.EOF {
			return shmHint(s.Name(), err)
		}
		if err := f(from, b); err != nil {
			return err
		}
		from += int64(len(b))
	}
	return nil
}
