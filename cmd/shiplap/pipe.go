package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/pipe"
)

const pipeBuffer = 1 << 20

func newPipeCmd(at *place) *cobra.Command {
	return group("pipe", "Move a stream of bytes between two processes",
		`One process sends, one receives; whoever comes first makes the pipe and waits for the other. When the
sender is done, the receiver ends; when either is interrupted or dies, the other ends with code 5.`,
		newPipeSendCmd(at), newPipeRecvCmd(at))
}

func newPipeSendCmd(at *place) *cobra.Command {
	t := transfer{at: at}
	cmd := &cobra.Command{
		Use:   "send NAME [FILE…]",
		Short: "Send standard input, or files one after the other",
		Long: `Send standard input, or the files one after the other, to whoever receives at NAME. It ends when the
receiver has taken everything and closed its end. Progress is shown if standard error is a terminal.`,
		Example: `  tar c . | shiplap pipe send src
  shiplap pipe send disk /var/lib/vm/disk.img`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: first(at.names("pipe")),
		RunE: func(cmd *cobra.Command, args []string) error {
			t.ahead = int64(t.capacity)
			return t.run(cmd, args[0], func(ctx context.Context, c *pipe.Conn) error {
				return t.send(ctx, c, cmd.InOrStdin(), args[1:])
			})
		},
	}
	t.flags(cmd)
	return cmd
}

func newPipeRecvCmd(at *place) *cobra.Command {
	t := transfer{at: at}
	cmd := &cobra.Command{
		Use:   "recv NAME",
		Short: "Receive a stream and write it to standard output",
		Long: `Receive what is sent at NAME and write it to standard output, until the sender is done. Exit code 0
says that the sender sent everything and ended properly; 5 that it was interrupted or died.`,
		Example:           `  shiplap pipe recv src | tar x -C /tmp/copy`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(at.names("pipe")),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.run(cmd, args[0], func(_ context.Context, c *pipe.Conn) error {
				return t.recv(c, cmd.OutOrStdout())
			})
		},
	}
	t.flags(cmd)
	return cmd
}

type transfer struct {
	at       *place
	capacity size
	ahead    int64 // bytes that move before the other end is there
	quiet    bool
	meter    *meter
}

func (t *transfer) flags(cmd *cobra.Command) {
	t.capacity = pipe.DefaultCapacity
	cmd.Flags().VarP(&t.capacity, "capacity", "c", "`size` of the pipe in each direction, if this process makes it")
	cmd.Flags().BoolVarP(&t.quiet, "quiet", "q", false, "show no progress")
}

// run takes an end, lets move have it, and closes it. When move fails, the pipe is removed first: a
// plain close would look to the other side like a proper end.
func (t *transfer) run(cmd *cobra.Command, name string, move func(context.Context, *pipe.Conn) error) error {
	d, err := t.at.join()
	if err != nil {
		return err
	}
	defer d.Close()
	e, err := pipe.OpenOrCreate(d, name, &pipe.Options{Capacity: int64(t.capacity), Ephemeral: true})
	if err != nil {
		return err
	}
	conn := e.Conn()
	ctx := cmd.Context()
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		conn.SetDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	t.meter = startMeter(cmd.ErrOrStderr(), t.quiet, t.ahead, "waiting for the other end")
	err = move(ctx, conn)
	if !stop() {
		<-interrupted // nobody may be inside when the process ends, or its membership would stay
	}
	t.meter.stop(err == nil)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		return e.Close()
	}
	_ = e.Remove()
	_ = e.Close()
	return err
}

func (t *transfer) send(ctx context.Context, conn *pipe.Conn, stdin io.Reader, files []string) error {
	e := conn.End()
	err := inputs(stdin, files, func(_ string, r io.Reader) error {
		in := newFeed(ctx, r, pipeBuffer)
		for {
			b, err := in.next()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			n, err := conn.Write(b)
			t.meter.add(n)
			if err != nil {
				return t.ended(e, err)
			}
		}
	})
	if err != nil {
		return err
	}
	if err := e.CloseWrite(); err != nil {
		return t.ended(e, err)
	}
	switch n, err := conn.Read(make([]byte, 1)); {
	case n > 0:
		return exitError{fmt.Errorf("pipe %q: the other end sends too", e.Name()), exitFailure, "shiplap pipe recv there"}
	case err != io.EOF:
		return t.ended(e, err)
	case e.PeerDied():
		return t.ended(e, shiplap.ErrPeerGone)
	}
	return nil
}

func (t *transfer) recv(conn *pipe.Conn, w io.Writer) error {
	e := conn.End()
	buf := make([]byte, pipeBuffer)
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			t.meter.add(n)
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF && e.PeerDied():
			return t.ended(e, shiplap.ErrPeerGone)
		case err == io.EOF:
			return nil
		case err != nil:
			return t.ended(e, err)
		}
	}
}

// ended says how far it came when the other end is gone.
func (t *transfer) ended(e *pipe.End, err error) error {
	switch {
	case e.PeerDied():
		return exitError{error: fmt.Errorf("pipe %q: the other process died after %s bytes", e.Name(), grouped(t.meter.n.Load())), code: exitEnded}
	case isAny(err, shiplap.ErrRemoved, shiplap.ErrPeerGone, io.ErrClosedPipe):
		return exitError{error: fmt.Errorf("pipe %q: the other end gave up after %s bytes (%w)", e.Name(), grouped(t.meter.n.Load()), err), code: exitEnded}
	}
	return err
}
