package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/shiplap-ipc/shiplap/internal/npy"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/shared"
)

const metered = 32 << 20 // bytes from which on progress is shown

func newArrayDumpCmd(at *place) *cobra.Command {
	var format, file string
	var noLock bool
	cmd := &cobra.Command{
		Use:   "dump NAME",
		Short: "Write an array as text, JSON or .npy",
		Long: `Write all elements: as text, a row a line (of one dimension, an element a line) and a blank line between planes; as JSON, in nested lists; or as .npy, which numpy.load reads,
records included. Without --format, the end of the file's name decides, .npy or .json; otherwise it is text.

Of a plain array the elements are of one moment, for it is copied under its lock; with --no-lock it is not. Of an array with
frames it is the latest frame. A file appears when it is complete.`,
		Example: `  shiplap array dump image -o image.npy
  shiplap array dump table | head
  shiplap array dump points --format json | jq '.[] | .X'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(at.names("array")),
		RunE: func(cmd *cobra.Command, args []string) error {
			if format == "" {
				format = map[string]string{".npy": "npy", ".json": "json"}[filepath.Ext(file)]
			}
			write := map[string]func(io.Writer, *shared.RawArray, *schema.Layout, []byte) error{
				"": dumpText, "text": dumpText, "json": dumpJSON, "npy": dumpNPY,
			}[format]
			if write == nil {
				return usagef("--format %q: text, json and npy are known", format)
			}
			if file == "" && format == "npy" && term.IsTerminal(int(os.Stdout.Fd())) {
				return usagef("a terminal shows no .npy: name a file with -o, or redirect the output")
			}
			return at.withArray(args[0], func(a *shared.RawArray, l *schema.Layout) error {
				b, err := content(cmd.Context(), a, !noLock)
				if err != nil {
					return err
				}
				if file == "" || file == "-" {
					return write(cmd.OutOrStdout(), a, l, b)
				}
				return writeWhole(file, func(w io.Writer) error {
					m := startMeter(cmd.ErrOrStderr(), len(b) < metered, 0, "writing")
					err := write(meteredWriter{w, m}, a, l, b)
					m.stop(err == nil)
					return err
				})
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "", "`text`, json or npy")
	f.StringVarP(&file, "output", "o", "", "write to this `file`")
	f.BoolVar(&noLock, "no-lock", false, "take no lock: elements may be of different moments")
	cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "json", "npy"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

type meteredWriter struct {
	w io.Writer
	m *meter
}

func (m meteredWriter) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 { // in pieces, so that one large write shows progress
		n, err := m.w.Write(p[:min(len(p), 1<<20)])
		m.m.add(n)
		total += n
		if err != nil {
			return total, err
		}
		p = p[n:]
	}
	return total, nil
}

// writeWhole writes a file that has its name only when it is complete.
func writeWhole(name string, write func(io.Writer) error) error {
	if st, err := os.Stat(name); err == nil && !st.Mode().IsRegular() { // a device, a named pipe
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return inputError{err}
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return inputError{err}
	}
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return inputError{errors.Join(err, os.Remove(f.Name()))}
	}
	return nil
}

func dumpNPY(w io.Writer, a *shared.RawArray, l *schema.Layout, b []byte) error {
	if err := npy.Write(w, &npy.Header{Layout: l, Shape: a.Shape()}); err != nil {
		return err
	}
	_, err := w.Write(b)
	return err
}

func dumpText(w io.Writer, a *shared.RawArray, l *schema.Layout, b []byte) error {
	dims := a.Shape()
	out := bufio.NewWriterSize(w, 1<<20)
	row, plane := 1, a.Len() // elements a line, lines between blank ones
	if len(dims) > 1 {
		row, plane = dims[len(dims)-1], dims[len(dims)-2]
	}
	var line []byte
	for n := 0; len(b) > 0; n++ {
		line = line[:0]
		if n > 0 && n%plane == 0 {
			line = append(line, '\n')
		}
		for i := range row {
			if i > 0 {
				line = append(line, ' ')
			}
			line = appendText(line, l, b[i*l.Size:(i+1)*l.Size])
		}
		b = b[row*l.Size:]
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return out.Flush()
}

func dumpJSON(w io.Writer, a *shared.RawArray, l *schema.Layout, b []byte) error {
	out := bufio.NewWriterSize(w, 1<<20)
	if err := writeLists(out, l, a.Shape(), b); err != nil {
		return err
	}
	if _, err := out.WriteString("\n"); err != nil {
		return err
	}
	return out.Flush()
}

// writeLists is appendPart, row by row.
func writeLists(w *bufio.Writer, l *schema.Layout, dims []int, b []byte) error {
	if len(dims) == 1 && len(b) <= 1<<16 {
		_, err := w.Write(appendPart(w.AvailableBuffer(), l, dims, b))
		return err
	}
	if len(dims) == 0 {
		_, err := w.Write(appendJSON(w.AvailableBuffer(), l, b))
		return err
	}
	n := len(b) / dims[0]
	for i := range dims[0] {
		sep := byte(',')
		if i == 0 {
			sep = '['
		}
		if err := w.WriteByte(sep); err != nil {
			return err
		}
		if len(dims) > 1 {
			_ = w.WriteByte('\n') // the next write reports an error of this one
		}
		if err := writeLists(w, l, dims[1:], b[i*n:(i+1)*n]); err != nil {
			return err
		}
	}
	return w.WriteByte(']')
}
