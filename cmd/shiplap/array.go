package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/internal/segment"
	"github.com/shiplap-ipc/shiplap/shared"
)

func newArrayCmd(at *place) *cobra.Command {
	return group("array", "Create, read and change shared arrays; .npy in and out",
		`An array has up to 7 dimensions of elements of one type, in C order. Processes change it in place, also from NumPy; or, if it was
made with --frames, publish it as a whole, again and again, and read the latest.

`+typeHelp+`

`+literalHelp,
		newArrayCreateCmd(at), newArrayInfoCmd(at), newArrayGetCmd(at), newArraySetCmd(at), newArrayDumpCmd(at), newArrayLoadCmd(at))
}

// parseShape reads 480x640x3.
func parseShape(text string) ([]int, error) {
	var dims []int
	for _, s := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune("x×,*", r) }) {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 {
			return nil, usagef("--shape %q: no shape: write 100, or 480x640x3", text)
		}
		dims = append(dims, n)
	}
	if len(dims) < 1 || len(dims) > shared.MaxDims {
		return nil, usagef("--shape %q: %d dimensions, possible are 1 to %d", text, len(dims), shared.MaxDims)
	}
	return dims, nil
}

func shapeText(dims []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(dims), " ", "x"), "[]")
}

func newArrayCreateCmd(at *place) *cobra.Command {
	var opt shared.ArrayOptions
	var typ, shape string
	var existOK bool
	cmd := &cobra.Command{
		Use:   "create NAME --type TYPE --shape SHAPE",
		Short: "Make an array of zeros",
		Long: `Make an array of zeros. Its memory is reserved now, so that a full /dev/shm is an error now and not later. It stays until it is
removed.

` + typeHelp,
		Example: `  shiplap array create image --type u8 --shape 480x640x3
  shiplap array create camera --type u8 --shape 1080x1920x3 --frames 4`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			desc, _, err := parseType(typ)
			if err != nil {
				return err
			}
			dims, err := parseShape(shape)
			if err != nil {
				return err
			}
			if opt.Frames < 0 || opt.Frames > shared.MaxFrames {
				return usagef("--frames %d: possible are 1 to %d", opt.Frames, shared.MaxFrames)
			}
			d, err := at.join()
			if err != nil {
				return err
			}
			defer d.Close()
			a, err := shared.CreateRawArray(d, args[0], desc, dims, &opt)
			if existOK && errors.Is(err, shiplap.ErrExist) {
				a, err = shared.OpenRawArray(d, args[0])
				if err == nil && (a.Type() != desc || !slices.Equal(a.Shape(), dims) || a.FrameCount() != max(1, opt.Frames)) {
					err = fmt.Errorf("array %q: %w: it is there as %s", args[0], shiplap.ErrExist, a)
					a.Close()
				}
			}
			if err != nil {
				return err
			}
			return a.Close()
		},
	}
	f := cmd.Flags()
	f.StringVar(&typ, "type", "", "`type` of the elements")
	f.StringVar(&shape, "shape", "", "`shape`, as in 480x640x3")
	f.IntVar(&opt.Frames, "frames", 1, "`N` frames, 2 or more, that are published one after the other")
	f.StringVar(&opt.Label, "label", "", "`text` for people, shown by ls and stat")
	f.BoolVar(&opt.Unlocked, "unlocked", false, "without a lock for its users")
	f.BoolVar(&existOK, "exist-ok", false, "fine if it is there already, of this type and shape")
	return cmd
}

// withArray runs f with an open array and closes it again.
func (p *place) withArray(name string, f func(a *shared.RawArray, l *schema.Layout) error) error {
	d, err := p.find()
	if err != nil {
		return err
	}
	defer d.Close()
	a, err := shared.OpenRawArray(d, name)
	if err != nil {
		return err
	}
	defer a.Close()
	l, err := layoutOf(a.Type())
	if err != nil {
		return err
	}
	return f(a, l)
}

type arrayInfo struct {
	Name   string       `json:"name"`
	Path   string       `json:"path"`
	Type   string       `json:"type"`
	DType  string       `json:"dtype"`
	Shape  []int        `json:"shape"`
	Frames int          `json:"frames"`
	Bytes  int          `json:"bytes"` // of one frame
	Stats  shared.Stats `json:"stats"`
}

func newArrayInfoCmd(at *place) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "info NAME",
		Short: "Show type, shape and locks of an array",
		Long: `Show type, shape and locks of an array, and where it lies: what a program in another language needs to attach to it. It takes no
lock.`,
		Example:           `  shiplap array info image --json | jq -r .dtype`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(at.names("array")),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return at.withArray(args[0], func(a *shared.RawArray, _ *schema.Layout) error {
			st, err := a.Stats()
			if err != nil {
				return err
			}
			file, err := segment.FileName(args[0])
			if err != nil {
				return err
			}
			path := filepath.Join(segment.DomainsPath(segment.Base(at.dir)), at.domain, file)
			in := arrayInfo{args[0], path, a.Type(), a.DType(), a.Shape(), a.FrameCount(), a.Size(), st}
			if *asJSON {
				return writeJSON(cmd, in)
			}
			t := newTable(cmd.OutOrStdout())
			t.row("name", in.Name)
			t.row("file", in.Path)
			t.row("type", in.Type)
			t.row("NumPy dtype", in.DType)
			t.row("shape", shapeText(in.Shape))
			t.row("size", bytesOf(int64(in.Bytes)))
			if in.Frames > 1 {
				t.row("frames", fmt.Sprintf("%d, %s published", in.Frames, grouped(st.Version)))
				t.row("publisher", lockState(&st.Writer))
			}
			t.row("lock", lockState(st.Lock))
			return t.Flush()
		})
	}
	return cmd
}

func lockState(l *shared.LockStats) string {
	switch {
	case l == nil:
		return "none"
	case l.Holder != 0 && l.Damaged:
		return fmt.Sprintf("held by pid %d; an owner died before, and nobody has repaired", l.Holder)
	case l.Holder != 0:
		return fmt.Sprintf("held by pid %d", l.Holder)
	case l.Damaged:
		return "free; an owner died, and nobody has repaired"
	}
	return "free"
}

// content is all elements of one moment: of a plain array under its lock, unless that is not wanted, or the latest frame.
func content(ctx context.Context, a *shared.RawArray, lock bool) ([]byte, error) {
	b := make([]byte, a.Size())
	if a.FrameCount() > 1 {
		_, err := a.Latest(b)
		return b, err
	}
	if lock {
		err := a.Snapshot(ctx, b)
		if errors.Is(err, shiplap.ErrOwnerDied) {
			return nil, exitError{err, exitFailure, "--no-lock shows what it left"}
		}
		if !errors.Is(err, shiplap.ErrUnsupported) { // made without a lock
			return b, err
		}
	}
	_, err := a.ReadAt(b, 0)
	return b, err
}
