package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/fifo"
	"github.com/shiplap-ipc/shiplap/logfile"
	"github.com/shiplap-ipc/shiplap/sysv"
)

func newSysvReaderCmd() *cobra.Command {
	r := &sysvReader{}
	cmd := &cobra.Command{
		Use:   "reader",
		Short: "Log the messages of a writer",
		Long: `Attach the segment of a writer, read-only, and wait at its FIFO. For each 'a' that comes log the message
in memory; an 'x' ends it. Other bytes are reported and skipped, newlines silently, so that "echo a >sysv.fifo" rings.

The log goes to standard output, to one file (--log), or to one file a level (--log-files), as lines
[level][time]: message. Several readers may log to the same file.

If the writer ends or dies without an 'x', this ends with exit code 5.`,
		Example: `  shiplap sysv reader
  shiplap sysv reader --path /etc/hostname --id 65 --fifo /tmp/bell --log messages.log
  shiplap sysv reader --log-files 'messages.*.log'`,
		Args: cobra.NoArgs,
	}
	r.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&r.log.File, "log", "", "append to this `FILE`")
	f.StringVar(&r.log.Files, "log-files", "", "append to one file a level: the * in `PATTERN` is the level")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if r.log.File == "" && r.log.Files == "" {
			r.log.Screen = cmd.OutOrStdout()
		}
		if p := r.log.Files; p != "" && !strings.Contains(p, "*") {
			return usagef("--log-files %q: it has no * where the level belongs, as in 'app.*.log'", p)
		}
		return r.run(cmd.Context())
	}
	return cmd
}

type sysvReader struct {
	rendezvous
	log  logfile.Options
	to   *slog.Logger
	lost error // what could not be logged
	seg  *sysv.Segment
	bell *fifo.Reader
}

func (r *sysvReader) run(ctx context.Context) (err error) {
	key, err := r.key()
	if err != nil {
		return err
	}
	r.log.OnError = func(err error) { r.lost = err }
	h, err := logfile.New(&r.log)
	if err != nil {
		return sysvError(err, "")
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	r.to = slog.New(h)
	start := "start the writer first: " + r.other("writer")
	if r.seg, err = sysv.Open(key, &sysv.AttachOptions{ReadOnly: true}); err != nil {
		return sysvError(err, start)
	}
	defer r.seg.Close()
	if info, err := r.seg.Stat(); err == nil && info.Attachments == 1 && !runs(info.CreatorPID) { // the one is this
		return sysvError(fmt.Errorf("%w: %v was left by pid %d, which died", shiplap.ErrPeerGone, r.seg, info.CreatorPID),
			fmt.Sprintf("shiplap sysv rm %d, then %s", int(r.seg.ID()), r.other("writer")))
	}
	if r.bell, err = fifo.OpenReader(ctx, r.fifo); err != nil {
		return sysvError(err, start)
	}
	defer r.bell.Close()
	return r.listen(ctx)
}

func (r *sysvReader) listen(ctx context.Context) error {
	code := make([]byte, 1)
	for r.lost == nil {
		// The writer waits until the code was taken. So first copy the message.
		if err := r.bell.Ready(ctx); err != nil {
			return err
		}
		text, bad := r.seg.ReadString(0, 0)
		_, err := r.bell.Read(ctx, code)
		switch {
		case err == io.EOF:
			return sysvError(fmt.Errorf("%w: the writer closed %s or died, without a stop", shiplap.ErrPeerGone, r.fifo),
				"if it died, its segment is still there: shiplap sysv ls")
		case err != nil:
			return err
		case code[0] == codeStop:
			return nil
		case code[0] == '\n':
		case code[0] != codeMessage:
			r.to.Warn("a code that is neither a nor x", "code", string(code))
		case bad != nil:
			r.to.Warn("no message", "error", bad)
		default:
			r.to.Info(text)
		}
	}
	return r.lost
}
