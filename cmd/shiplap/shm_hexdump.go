package main

import (
	"bufio"
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap/shm"
)

func newShmHexdumpCmd() *cobra.Command {
	var part extent
	cmd := &cobra.Command{
		Use:   "hexdump NAME",
		Short: "Show a segment's bytes in hexadecimal and as text",
		Long: `Show the bytes of a segment as hexdump -C does: sixteen a line, with their offset and as text; lines like
the one before are shown as one *.`,
		Example:           `  shiplap shm hexdump frames --length 256`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: shmName,
	}
	part.flags(cmd, "show")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withShm(args[0], true, func(s *shm.Segment) error {
			from, to, err := part.of(cmd, s)
			if err != nil {
				return err
			}
			w := bufio.NewWriter(cmd.OutOrStdout())
			d := dumper{w: w}
			if err := eachChunk(cmd.Context(), s, from, to, d.dump); err != nil {
				return err
			}
			d.end(to)
			return w.Flush()
		})
	}
	return cmd
}

// dumper writes lines as hexdump -C. It is given pieces of a multiple of 16 bytes, the last one excepted.
type dumper struct {
	w        *bufio.Writer
	last     [16]byte
	any      bool // last holds a line
	squeezed bool
}

func (d *dumper) dump(off int64, b []byte) error {
	for len(b) > 0 {
		n := min(16, len(b))
		if d.any && n == 16 && d.last == [16]byte(b) {
			if !d.squeezed {
				d.w.WriteString("*\n")
			}
			d.squeezed = true
		} else {
			d.line(off, b[:n])
			d.any, d.squeezed = true, false
			copy(d.last[:], b)
		}
		off, b = off+int64(n), b[n:]
	}
	return nil
}

func (d *dumper) line(off int64, b []byte) {
	text := make([]byte, 0, 80)
	text = fmt.Appendf(text, "%08x  ", off)
	for i := range 16 {
		if i < len(b) {
			text = hex.AppendEncode(text, b[i:i+1])
		} else {
			text = append(text, "  "...)
		}
		text = append(text, ' ')
		if i == 7 {
			text = append(text, ' ')
		}
	}
	text = append(text, " |"...)
	for _, c := range b {
		if c < ' ' || c > '~' {
			c = '.'
		}
		text = append(text, c)
	}
	d.w.Write(append(text, "|\n"...))
}

// end writes the offset behind the last byte.
func (d *dumper) end(off int64) {
	if d.any {
		fmt.Fprintf(d.w, "%08x\n", off)
	}
}
