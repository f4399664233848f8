package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/shm"
)

func newShmWriteCmd() *cobra.Command {
	var offset size
	var file string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "write NAME",
		Short: "Write standard input, or a file, into a segment",
		Long: `Write standard input, or --file, into a segment. Nothing is written beyond its end: a file that does not
fit is refused before its first byte is written; of a stream, what fits was written before it is.

Others see the bytes as they come. Progress is shown if standard error is a terminal and it lasts.`,
		Example: `  printf '\002' | shiplap shm write psm_b370a3a5 --offset 9
  shiplap shm write frames --file frames.bin`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: shmName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withShm(args[0], false, func(s *shm.Segment) error {
				if int64(offset) > s.Size() {
					return exitError{beyond(s, int64(offset), 0), exitFailure, ""}
				}
				return inputs(cmd.InOrStdin(), []string{file}, func(_ string, r io.Reader) error {
					w := &shmWriter{s: s, off: int64(offset), start: time.Now()}
					if f, ok := cmd.ErrOrStderr().(*os.File); ok && !quiet && term.IsTerminal(int(f.Fd())) {
						w.show = f
					}
					err := w.run(cmd.Context(), r)
					w.stop()
					return err
				})
			})
		},
	}
	f := cmd.Flags()
	f.VarP(&offset, "offset", "o", "first `byte` to write")
	f.StringVarP(&file, "file", "f", "-", "read this `file` instead of standard input")
	f.BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	return cmd
}

// beyond says by how much something does not fit.
func beyond(s *shm.Segment, off, n int64) error {
	if n > 0 {
		return fmt.Errorf("%s: %w: %s bytes at offset %s; it has %s bytes, room for %s there",
			s.Name(), shiplap.ErrTooLarge, grouped(n), grouped(off), grouped(s.Size()), grouped(s.Size()-off))
	}
	return fmt.Errorf("%s: %w: offset %s; it has %s bytes", s.Name(), shiplap.ErrTooLarge, grouped(off), grouped(s.Size()))
}

type shmWriter struct {
	s      *shm.Segment
	off, n int64 // where it goes on, bytes written
	total  int64 // that are to be written, 0 if nobody knows
	start  time.Time
	show   io.Writer // nil: show nothing
	shown  time.Time
}

func (w *shmWriter) run(ctx context.Context, r io.Reader) error {
	if f, ok := r.(*os.File); ok {
		w.total = left(f)
	}
	if w.total > w.s.Size()-w.off {
		return exitError{beyond(w.s, w.off, w.total), exitFailure, ""}
	}
	in := newFeed(ctx, r, shmChunk)
	for {
		b, err := in.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		fits := b[:min(int64(len(b)), w.s.Size()-w.off)]
		if _, err := w.s.WriteAt(fits, w.off); err != nil {
			return shmHint(w.s.Name(), err)
		}
		w.off += int64(len(fits))
		w.n += int64(len(fits))
		if len(fits) < len(b) {
			err := fmt.Errorf("%s: %w: the input goes on behind the segment's last byte; it has %s bytes, %s were written",
				w.s.Name(), shiplap.ErrTooLarge, grouped(w.s.Size()), grouped(w.n))
			return exitError{err, exitFailure, ""}
		}
		w.progress()
	}
}

// left is how much there is still to read of a plain file, 0 for others.
func left(f *os.File) int64 {
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return 0
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0
	}
	return max(0, st.Size()-at)
}

func (w *shmWriter) progress() {
	now := time.Now()
	if w.show == nil || now.Sub(w.start) < time.Second || now.Sub(w.shown) < meterEvery {
		return
	}
	w.shown = now
	of := ""
	if w.total > 0 {
		of = " of " + formatSize(w.total)
	}
	fmt.Fprintf(w.show, "\r%s%s  %s\x1b[K", formatSize(w.n), of, rate(w.n, now.Sub(w.start)))
}

func (w *shmWriter) stop() {
	if !w.shown.IsZero() {
		fmt.Fprint(w.show, "\r\x1b[K")
	}
}
