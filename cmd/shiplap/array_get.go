package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/shared"
)

// parseIndex reads 3,4,-1; negative indexes count from the end. Fewer than there are dimensions select a part.
func parseIndex(text string, dims []int) (index []int, err error) {
	if text == "" {
		return nil, nil
	}
	for i, s := range strings.Split(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil {
			return nil, usagef("index %q: write 3,4", text)
		}
		if i >= len(dims) {
			return nil, usagef("index %q: the array has %d dimensions", text, len(dims))
		}
		if n < 0 {
			n += dims[i]
		}
		if n < 0 || n >= dims[i] {
			return nil, usagef("index %q is outside of %s", text, shapeText(dims))
		}
		index = append(index, n)
	}
	return index, nil
}

// part is the place of what an index selects, and its dimensions.
func part(l *schema.Layout, dims, index []int) (off, n int, rest []int) {
	n = l.Size
	for _, d := range dims {
		n *= d
	}
	for i, k := range index {
		n /= dims[i]
		off += k * n
	}
	return off, n, dims[len(index):]
}

func newArrayGetCmd(at *place) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get NAME INDEX…",
		Short: "Write elements of an array",
		Long: `Write elements, one a line: a number as it is, a record as JSON. An index with fewer numbers than there are dimensions selects a
part, which is written as a JSON list. Negative numbers count from the end; after "--", that is, where they come first. Of an array with frames it is the latest one.

It takes no lock: a record may be half written.`,
		Example: `  shiplap array get image 0,0,1 479,639,1
  shiplap array get image 10,20 | jq .[0]
  shiplap array get series -- -1`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: first(at.names("array")),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return at.withArray(args[0], func(a *shared.RawArray, l *schema.Layout) error {
			var all []byte
			if a.FrameCount() > 1 {
				var err error
				if all, err = content(cmd.Context(), a, false); err != nil {
					return err
				}
			}
			var out []byte
			for _, text := range args[1:] {
				index, err := parseIndex(text, a.Shape())
				if err != nil {
					return err
				}
				off, n, rest := part(l, a.Shape(), index)
				b := make([]byte, n)
				if all != nil {
					copy(b, all[off:])
				} else if _, err := a.ReadAt(b, int64(off)); err != nil {
					return err
				}
				if len(rest) == 0 && !*asJSON {
					out = append(appendText(out, l, b), '\n')
				} else {
					out = append(appendPart(out, l, rest, b), '\n')
				}
			}
			_, err := cmd.OutOrStdout().Write(out)
			return err
		})
	}
	return cmd
}

// appendPart appends elements as nested JSON lists.
func appendPart(dst []byte, l *schema.Layout, dims []int, b []byte) []byte {
	if len(dims) == 0 {
		return appendJSON(dst, l, b)
	}
	n := len(b) / dims[0]
	dst = append(dst, '[')
	for i := range dims[0] {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendPart(dst, l, dims[1:], b[i*n:(i+1)*n])
	}
	return append(dst, ']')
}

func newArraySetCmd(at *place) *cobra.Command {
	var lock bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "set NAME INDEX=VALUE…",
		Short: "Write elements of an array",
		Long: `Write elements in place. An index with fewer numbers than there are dimensions selects a part, all of whose elements become
VALUE; an index that is missing altogether selects everything. With --lock the lock of the array is held meanwhile. Arrays with frames are
published as a whole: see shiplap array load.

` + literalHelp,
		Example: `  shiplap array set image 0,0,1=255 479,639=0
  shiplap array set --lock points '3={"X": 1, "Y": 2}'
  shiplap array set image =0`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: first(at.names("array")),
		RunE: func(cmd *cobra.Command, args []string) error {
			return at.withArray(args[0], func(a *shared.RawArray, l *schema.Layout) error {
				type write struct {
					off int
					b   []byte
				}
				var writes []write
				for _, text := range args[1:] {
					at, value, ok := strings.Cut(text, "=")
					if !ok {
						return usagef("%.60q: write 3,4=VALUE", text)
					}
					index, err := parseIndex(at, a.Shape())
					if err != nil {
						return err
					}
					b, err := parseLiteral(l, value)
					if err != nil {
						return err
					}
					off, n, _ := part(l, a.Shape(), index)
					writes = append(writes, write{off, bytes.Repeat(b, n/l.Size)})
				}
				write1 := func() error {
					for _, w := range writes {
						if _, err := a.WriteAt(w.b, int64(w.off)); err != nil {
							return err
						}
					}
					return nil
				}
				if !lock {
					return write1()
				}
				return underLock(cmd.Context(), a, timeout, write1)
			})
		},
	}
	cmd.Flags().BoolVar(&lock, "lock", false, "hold the array's lock meanwhile")
	cmd.Flags().DurationVarP(&timeout, "timeout", "t", 0, "longest wait for the lock (default: for ever)")
	return cmd
}

func underLock(ctx context.Context, a *shared.RawArray, timeout time.Duration, f func() error) error {
	wait, cancel := (&patience{timeout: timeout}).context(ctx)
	defer cancel()
	switch err := a.Lock(wait); {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return fmt.Errorf("array %q: %w: its lock was not to be had within %v", a.Name(), shiplap.ErrBusy, timeout)
	case errors.Is(err, shiplap.ErrOwnerDied):
		return errors.Join(exitError{err, exitFailure, "shiplap array load --replace writes all of it anew"}, a.Unlock())
	case err != nil:
		return err
	}
	return errors.Join(f(), a.Unlock())
}
