package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/fifo"
	"github.com/shiplap-ipc/shiplap/sysv"
)

// sysvMessage is the most bytes of a message, its NUL included, as the other programs of this kind have it.
const sysvMessage = 1024

func newSysvWriterCmd() *cobra.Command {
	w := &sysvWriter{size: 4096}
	mode := ""
	cmd := &cobra.Command{
		Use:   "writer",
		Short: "Make a segment and a FIFO, and send lines through them",
		Long: `Make a segment and a FIFO, wait for a reader, and then send each line of standard input: the line goes into the
memory, with a NUL behind it, and then an 'a' into the FIFO. At the end of input an 'x' follows, and the
segment and the FIFO are removed; on Ctrl-C as well. A line of more than 1023 bytes becomes several messages.

The memory holds one message. So the next line waits until the reader has taken the byte from the FIFO. "shiplap sysv
reader" takes it after it has copied the message, and misses none. A program that takes the byte first, and then
reads the memory, needs a moment: give it one with --pace if lines come faster than somebody types.

A FIFO that is there is used, and is removed in the end, too. A segment that is there is an error: a
writer is running, or was killed and left it. Then this says which, and how to remove it.`,
		Example: `  shiplap sysv writer
  shiplap sysv writer --path /etc/hostname --id 65 --fifo /tmp/bell
  tail -f /var/log/syslog | shiplap sysv writer --pace 10ms`,
		Args: cobra.NoArgs,
	}
	w.flags(cmd)
	f := cmd.Flags()
	f.Var(&w.size, "size", "bytes of the segment")
	f.StringVar(&mode, "mode", "0600", "permission bits of segment and FIFO")
	f.DurationVar(&w.pace, "pace", 0, "wait after each message was taken, before the next")
	f.BoolVar(&w.codes, "codes", false, "read a line with the code, a or x, after each message")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		m, err := strconv.ParseUint(mode, 8, 32)
		if err != nil || m > 0o777 {
			return usagef("--mode %q: three octal digits, as 600 or 0640", mode)
		}
		if w.size < 2 {
			return usagef("--size %d: at least 2, for a byte and its NUL", w.size)
		}
		if w.pace < 0 {
			return usagef("--pace %v: at least 0", w.pace)
		}
		w.mode = os.FileMode(m)
		w.in, w.out = cmd.InOrStdin(), cmd.ErrOrStderr()
		if in, ok := w.in.(*os.File); ok {
			w.prompts = term.IsTerminal(int(in.Fd()))
		}
		return w.run(cmd.Context())
	}
	return cmd
}

type sysvWriter struct {
	rendezvous
	size  size
	mode  os.FileMode
	pace  time.Duration
	codes bool

	in      io.Reader
	out     io.Writer // for prompts
	prompts bool
	seg     *sysv.Segment
	bell    *fifo.Writer
	max     int // bytes of a message with its NUL
}

func (w *sysvWriter) run(ctx context.Context) (err error) {
	key, err := w.key()
	if err != nil {
		return err
	}
	// The FIFO first: who finds the segment then finds the FIFO.
	made, err := fifo.Ensure(w.fifo, w.mode)
	if err != nil {
		return sysvError(err, "another --fifo")
	}
	w.seg, err = sysv.Create(key, int(w.size), &sysv.Options{Mode: w.mode})
	if err != nil {
		if made {
			err = errors.Join(err, fifo.Remove(w.fifo))
		}
		return w.taken(key, err)
	}
	defer func() { err = errors.Join(err, w.remove()) }()
	w.max = min(sysvMessage, int(w.size))
	w.prompt("waiting for the reader: %s\n", w.other("reader"))
	w.bell, err = fifo.OpenWriter(ctx, w.fifo)
	if err != nil {
		return err
	}
	defer w.bell.Close()
	return w.talk(ctx)
}

// taken explains why there is no segment.
func (w *sysvWriter) taken(key sysv.Key, err error) error {
	if !errors.Is(err, shiplap.ErrExist) {
		return sysvError(err, "")
	}
	info, e := sysv.Find(key)
	if e != nil {
		return sysvError(err, "try again: it is gone by now")
	}
	remove := fmt.Sprintf("shiplap sysv rm %d", int(info.ID))
	what := fmt.Sprintf("segment %d with key %v: %d bytes, made by %s, attached %d times", int(info.ID), key, info.Size, pidText(info.CreatorPID), info.Attachments)
	switch {
	case leftOver(info):
		return sysvError(fmt.Errorf("%w already, left by a writer that died: %s", shiplap.ErrExist, what), remove)
	case !runs(info.CreatorPID):
		return sysvError(fmt.Errorf("%w already, its maker died, and last used it %s: %s", shiplap.ErrExist, pidText(info.LastPID), what),
			remove+" (who has it attached keeps it)")
	}
	return sysvError(fmt.Errorf("%w already: %s", shiplap.ErrExist, what), "another --id or --path, or end the process that made it")
}

func (w *sysvWriter) remove() error {
	err := w.seg.ID().Remove()
	if errors.Is(err, shiplap.ErrNotExist) {
		err = nil // somebody else did
	}
	err = errors.Join(err, w.seg.Close())
	if e := fifo.Remove(w.fifo); !errors.Is(e, shiplap.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

func (w *sysvWriter) prompt(format string, a ...any) {
	if w.prompts {
		fmt.Fprintf(w.out, format, a...)
	}
}

// talk sends all lines. The reader's death ends it at once, also while it waits for a line.
func (w *sysvWriter) talk(ctx context.Context) error {
	peer, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if w.bell.PeerGone(peer) == nil {
			cancel(fmt.Errorf("%w: the reader closed %s or died", shiplap.ErrPeerGone, w.fifo))
		}
	}()
	defer func() {
		cancel(nil)
		<-watched
	}()
	err := w.lines(peer)
	switch {
	case err == nil:
		_, err = w.bell.Write(peer, []byte{codeStop})
	case ctx.Err() != nil: // interrupted: the reader should hear of it. A byte needs no waiting.
		quick, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		w.bell.Write(quick, []byte{codeStop})
	}
	if errors.Is(err, shiplap.ErrPeerGone) {
		return sysvError(err, w.other("reader")+", after "+w.other("writer"))
	}
	return err
}

// lines sends line by line; nil at the end of input, or when the user says stop.
func (w *sysvWriter) lines(ctx context.Context) error {
	in := &lineFeed{feed: newFeed(ctx, w.in, 4096), max: w.max - 1}
	for {
		w.prompt("message: ")
		text, err := in.next()
		if err == nil && w.codes {
			var stop bool
			if stop, err = w.code(in, text); stop && err == nil {
				return nil
			}
		} else if err == nil {
			err = w.send(ctx, text)
		}
		if err == io.EOF {
			w.prompt("\n")
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// code asks for the code after a message, and sends both.
func (w *sysvWriter) code(in *lineFeed, text string) (stop bool, err error) {
	for {
		w.prompt("code (a = continue, x = stop): ")
		code, err := in.next()
		switch {
		case err != nil:
			return false, err
		case code == string(rune(codeStop)):
			return true, w.seg.WriteString(0, w.max, text)
		case code == string(rune(codeMessage)):
			return false, w.send(in.feed.ctx, text)
		case !w.prompts:
			return false, usagef("code %q: a or x", code)
		}
	}
}

// send puts a message into memory, rings, and waits until the reader took the ring.
func (w *sysvWriter) send(ctx context.Context, text string) error {
	if err := w.seg.WriteString(0, w.max, text); err != nil {
		return err
	}
	if _, err := w.bell.Write(ctx, []byte{codeMessage}); err != nil {
		return err
	}
	if err := w.bell.Drain(ctx); err != nil {
		return err
	}
	if w.pace == 0 {
		return nil
	}
	select {
	case <-time.After(w.pace):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// lineFeed cuts input into lines of at most max bytes.
type lineFeed struct {
	feed *feed
	max  int
	rest []byte // of the last piece of input
	held []byte // the beginning of a line
	cut  bool   // the last piece was cut from a longer line
}

// next is a line without its end, or a piece of a long one; io.EOF at the end.
func (l *lineFeed) next() (string, error) {
	l.held = l.held[:0]
	for {
		for len(l.rest) == 0 {
			b, err := l.feed.next()
			if err == io.EOF && len(l.held) > 0 {
				return string(l.held), nil
			}
			if err != nil {
				return "", err
			}
			l.rest = b
		}
		if text, rest, found := bytes.Cut(l.rest, []byte{'\n'}); found && len(l.held)+len(text) <= l.max {
			l.rest = rest
			if l.cut && len(l.held)+len(text) == 0 { // the end of a line that was cut just there
				l.cut = false
				continue
			}
			l.cut = false
			l.held = append(l.held, text...)
			return string(l.held), nil
		}
		k := min(len(l.rest), l.max-len(l.held))
		l.held, l.rest = append(l.held, l.rest[:k]...), l.rest[k:]
		if len(l.held) == l.max {
			if len(l.rest) > 0 && l.rest[0] == '\n' { // it just fits
				l.rest = l.rest[1:]
			} else {
				l.cut = true
			}
			return string(l.held), nil
		}
	}
}
