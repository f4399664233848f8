package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
)

func newChannelRecvCmd(at *place) *cobra.Command {
	c := &chosen{at: at}
	l := &listener{}
	var follow, wait bool
	cmd := &cobra.Command{
		Use:   "recv NAME",
		Short: "Receive messages from the other side, and write them",
		Long: `Write each message that is sent at the other side, a line each, until all who had that open closed it, or --count messages came. Exit code 5 says that
one of them died: everything that it had sent was written. When nobody was ever there it waits; when they are gone already it writes what they left and
ends, unless --wait makes it wait for the next who comes, or --follow for one after the other.

` + wordingHelp + ` With --json a line is {"message": …}, or {"message_base64": "…"} where it is no text,
with "envelope": {…} if something stands in front of it.

A message goes to one receiver: another one at the same side, the program itself perhaps, does not get what is written here.`,
		Example: `  shiplap channel recv chat --create            # one terminal
  shiplap channel send chat "hello"             # another
  shiplap channel recv log --follow >>app.log
  shiplap channel recv bot-passive --side A --count 1 --timeout 5s --json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(at.names("channel")),
	}
	c.flags(cmd)
	l.flags(cmd)
	cmd.Flags().BoolVarP(&wait, "wait", "w", false, "wait first until somebody is at the other side")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait, and go on when the other side is closed")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := l.check(); err != nil {
			return err
		}
		return c.with(cmd, args[0], func() (err error) {
			if l.wording, err = wordingOf(c.raw.Type(), l.raw); err != nil {
				return err
			}
			l.name, l.w, l.err = fmt.Sprintf("channel %q", args[0]), cmd.OutOrStdout(), cmd.ErrOrStderr()
			from := source(c.raw)
			if follow || wait {
				from = &follower{Raw: c.raw, goOn: follow}
			}
			err = l.listen(cmd.Context(), from)
			if errors.Is(err, shiplap.ErrPeerGone) {
				return exitError{fmt.Errorf("%w, after %s", err, counted(l.n, "message")), exitEnded, "--follow waits for the next who opens side " + string(c.other())}
			}
			return err
		})
	}
	return cmd
}

// follower receives from whoever opens the other side: the next who comes or, if it goes on, one after the other.
type follower struct {
	*channel.Raw
	goOn bool
	met  bool // somebody came
}

// comeBack is how often a follower looks for what somebody sent who was there only for a moment.
const comeBack = 250 * time.Millisecond

// patient reports whether the error only says that nobody is there, and that is no reason to end.
func (f *follower) patient(err error) bool {
	f.met = f.met || err == nil
	return gone(err) && (f.goOn || !f.met)
}

func (f *follower) TryReceive(dst []byte) ([]byte, error) {
	msg, err := f.Raw.TryReceive(dst)
	if f.patient(err) {
		err = shiplap.ErrEmpty
	}
	return msg, err
}

func (f *follower) TryReceiveWith(dst []byte) ([]byte, shiplap.Envelope, error) {
	msg, env, err := f.Raw.TryReceiveWith(dst)
	if f.patient(err) {
		err = shiplap.ErrEmpty
	}
	return msg, env, err
}

func (f *follower) Receive(ctx context.Context, dst []byte) (msg []byte, err error) {
	err = f.follow(ctx, func() error {
		msg, err = f.Raw.Receive(ctx, dst)
		return err
	})
	return msg, err
}

func (f *follower) ReceiveWith(ctx context.Context, dst []byte) (msg []byte, env shiplap.Envelope, err error) {
	err = f.follow(ctx, func() error {
		msg, env, err = f.Raw.ReceiveWith(ctx, dst)
		return err
	})
	return msg, env, err
}

// follow receives until there is a message, or a reason to end.
func (f *follower) follow(ctx context.Context, receive func() error) error {
	for {
		err := receive()
		if !f.patient(err) {
			return err
		}
		wait, cancel := context.WithTimeout(ctx, comeBack)
		err = f.WaitPeer(wait)
		cancel()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			f.met = true
		case !errors.Is(err, context.DeadlineExceeded):
			return err
		}
	}
}

// gone reports whether nobody is at the other side any more, and everything from there received.
func gone(err error) bool { return isAny(err, io.EOF, shiplap.ErrPeerGone) }
