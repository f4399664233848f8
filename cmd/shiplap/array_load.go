package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/npy"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/shared"
)

func newArrayLoadCmd(at *place) *cobra.Command {
	var opt shared.ArrayOptions
	var name, typ string
	var replace bool
	cmd := &cobra.Command{
		Use:   "load FILE.npy",
		Short: "Make an array of a .npy file",
		Long: `Make an array of what numpy.save wrote; "-" is standard input. The array is called as the file is, without .npy, if there is no --name.
Type and shape are the file's: numbers, bool and records of them, little-endian. What was saved in Fortran order is brought into C order.

NumPy has no arrays as elements, only more dimensions, and does not say how a record is aligned. --type names the elements as a program has them,
for example [3]<f4: the file's type and shape have to amount to the same bytes.

With --replace the array may be there already, of a type and shape that amount to the same bytes: a plain one is overwritten under its lock, one with frames gets this as its
next. Without, the array has its name, and zeros, a moment before it has its content.`,
		Example: `  shiplap array load image.npy
  shiplap array load points.npy --type '[3]<f4'
  shiplap array load - --name image --replace < image.npy`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if name == "" {
				if args[0] == "-" {
					return usagef("--name is needed for standard input")
				}
				name = strings.TrimSuffix(filepath.Base(args[0]), ".npy")
			}
			if opt.Frames < 0 || opt.Frames > shared.MaxFrames {
				return usagef("--frames %d: possible are 1 to %d", opt.Frames, shared.MaxFrames)
			}
			return input(cmd.InOrStdin(), args[0], func(file string, r io.Reader) error {
				h, b, err := readNPY(cmd.ErrOrStderr(), file, r)
				if err != nil {
					return err
				}
				if typ != "" {
					if err := retype(h, typ); err != nil {
						return inputError{fmt.Errorf("%s: %w", file, err)}
					}
				}
				d, err := at.join()
				if err != nil {
					return err
				}
				defer d.Close()
				a, err := openForLoad(d, name, h, &opt, replace)
				if err != nil {
					return err
				}
				return errors.Join(storeArray(cmd, a, b), a.Close())
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "`name` of the array")
	f.StringVar(&typ, "type", "", "make an array of this `type`, if it has the same bytes")
	f.IntVar(&opt.Frames, "frames", 1, "make an array of `N` frames, and publish this as its first")
	f.StringVar(&opt.Label, "label", "", "`text` for people, shown by ls and stat")
	f.BoolVar(&opt.Unlocked, "unlocked", false, "make it without a lock for its users")
	f.BoolVar(&replace, "replace", false, "fine if it is there, of this type and shape")
	return cmd
}

func openForLoad(d *shiplap.Domain, name string, h *npy.Header, opt *shared.ArrayOptions, replace bool) (*shared.RawArray, error) {
	for {
		if replace {
			a, err := shared.OpenRawArray(d, name)
			if err == nil {
				if err := fits(a, h); err != nil {
					a.Close()
					return nil, err
				}
			}
			if !errors.Is(err, shiplap.ErrNotExist) {
				return a, err
			}
		}
		a, err := shared.CreateRawArray(d, name, h.Descriptor(), h.Shape, opt)
		if !replace || !errors.Is(err, shiplap.ErrExist) {
			return a, err
		}
	}
}

// fits returns an error if an array is of other bytes than a file.
func fits(a *shared.RawArray, h *npy.Header) error {
	l, err := layoutOf(a.Type())
	if err != nil {
		return err
	}
	if have := (&npy.Header{Layout: l, Shape: a.Shape()}); !have.Alike(h) {
		return fmt.Errorf("%w: %s; the file has %s of %s", shiplap.ErrIncompatible, a, h.Descriptor(), shapeText(h.Shape))
	}
	return nil
}

// retype gives the elements of a file the type that a program has for them.
func retype(h *npy.Header, typ string) error {
	_, l, err := parseType(typ)
	if err != nil {
		return err
	}
	inner := 0
	for e := l; e.Elem != nil; e = e.Elem {
		inner++
	}
	as := &npy.Header{Layout: l}
	if flat := h.Flat(); len(flat) > inner {
		as.Shape = flat[:len(flat)-inner]
	}
	if len(as.Shape) == 0 || !as.Alike(h) {
		return fmt.Errorf("%w: it has %s of %s, which is no array of %s", shiplap.ErrIncompatible, h.Descriptor(), shapeText(h.Shape), l)
	}
	h.Layout, h.Shape = as.Layout, as.Shape
	return nil
}

func storeArray(cmd *cobra.Command, a *shared.RawArray, b []byte) error {
	if a.FrameCount() > 1 {
		_, err := a.Publish(cmd.Context(), func(frame []byte) error {
			copy(frame, b)
			return nil
		})
		return err
	}
	err := a.Replace(cmd.Context(), b)
	if errors.Is(err, shiplap.ErrUnsupported) { // made without a lock
		_, err = a.WriteAt(b, 0)
	}
	return err
}

// readNPY reads a whole file and checks it; the elements are in C order then.
func readNPY(progress io.Writer, file string, r io.Reader) (*npy.Header, []byte, error) {
	fail := func(err error) (*npy.Header, []byte, error) {
		return nil, nil, inputError{fmt.Errorf("%s: %w", file, err)}
	}
	h, err := npy.Read(r)
	if err != nil {
		return fail(err)
	}
	if len(h.Shape) == 0 {
		return fail(fmt.Errorf("%w: it is one element, and no array: see shiplap value create", shiplap.ErrIncompatible))
	}
	count := 1
	for _, n := range h.Shape {
		if n == 0 {
			return fail(fmt.Errorf("%w: an array of shape %s has no elements, and arrays here have some", shiplap.ErrIncompatible, shapeText(h.Shape)))
		}
		if n < 0 || n > math.MaxInt64>>1/count/h.Layout.Size {
			return fail(fmt.Errorf("%w: an array of shape %s", shiplap.ErrTooLarge, shapeText(h.Shape)))
		}
		count *= n
	}
	total := count * h.Layout.Size
	m := startMeter(progress, total < metered, 0, "reading")
	b, err := readExactly(r, total, m)
	m.stop(err == nil)
	if err == nil {
		err = checkElements(h, b)
	}
	if err != nil {
		return fail(err)
	}
	if h.Fortran {
		b = toC(b, h.Shape, h.Layout.Size)
	}
	return h, b, nil
}

// readExactly takes memory only as it comes, for the header may promise anything.
func readExactly(r io.Reader, total int, m *meter) (b []byte, err error) {
	if f, ok := r.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Size() >= int64(total) {
			b = make([]byte, 0, total)
		}
	}
	const step = 1 << 20
	for len(b) < total {
		n := min(step, total-len(b))
		b = slices.Grow(b, n)
		k, err := io.ReadFull(r, b[len(b):len(b)+n])
		b = b[:len(b)+k]
		m.add(k)
		if err != nil {
			return nil, fmt.Errorf("%w: it ends after %d of %d bytes", shiplap.ErrIncompatible, len(b), total)
		}
	}
	if n, _ := io.CopyN(io.Discard, r, 1); n > 0 {
		return nil, fmt.Errorf("%w: there is more behind the %d bytes of the array", shiplap.ErrIncompatible, total)
	}
	return b, nil
}

func checkElements(h *npy.Header, b []byte) error {
	d, err := schema.Parse(h.Descriptor())
	if err != nil {
		return err
	}
	check := d.Checker()
	if check == nil {
		return nil
	}
	for i := 0; len(b) > 0; i++ {
		if check(b[:d.Size]) != nil {
			return fmt.Errorf("%w: element %d holds a bool that is neither 0 nor 1", shiplap.ErrIncompatible, i)
		}
		b = b[d.Size:]
	}
	return nil
}

// toC brings elements whose first index runs fastest into C order.
func toC(b []byte, shape []int, size int) []byte {
	out := make([]byte, len(b))
	strides := make([]int, len(shape)) // in out
	n := size
	for d := len(shape) - 1; d >= 0; d-- {
		strides[d] = n
		n *= shape[d]
	}
	index, at := make([]int, len(shape)), 0
	for ; len(b) > 0; b = b[size:] {
		copy(out[at:], b[:size])
		for d := range shape {
			index[d]++
			at += strides[d]
			if index[d] < shape[d] {
				break
			}
			at -= strides[d] * index[d]
			index[d] = 0
		}
	}
	return out
}
