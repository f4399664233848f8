package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
)

func newChannelCmd(at *place) *cobra.Command {
	return group("channel", "List channels, send to them, receive from them",
		`A channel connects two sides, A and B, in both directions: what is sent at one side is received at the other, in order. Side A is that of who
made it. Each side may be open in several processes; a message goes to one of them. When nobody has a side open any more, the other is told,
and whether one of them died; when somebody opens it again, the channel goes on, with the messages that nobody had received.

`+wordingHelp,
		newChannelLsCmd(at), newChannelSendCmd(at), newChannelRecvCmd(at))
}

func newChannelLsCmd(at *place) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List channels, and who is at which side",
		Long: `List the channels of the domain: who has each side open ("free" if nobody ever had, "closed" if all who had closed it, "dead" if one of them died), how
many messages wait in each direction, and what these are. It changes nothing and needs nobody alive; shiplap stat NAME shows more.`,
		Example: `  shiplap channel ls
  shiplap channel ls --json | jq -r '.[] | select(.a.state == "dead") | .name'`,
		Args: cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all := []channel.Stats{}
		d, err := at.look()
		if err == nil {
			defer d.Close()
			all, err = channel.List(d)
		}
		switch {
		case err != nil && !at.empty(err):
			return err
		case *asJSON:
			return writeJSON(cmd, all)
		case len(all) == 0:
			fmt.Fprintf(cmd.ErrOrStderr(), "no channels; shiplap channel recv%s NAME --create makes one\n", sameDomain(cmd))
			return nil
		}
		t := newTable(cmd.OutOrStdout(), "NAME", "SIDE A", "SIDE B", "A TO B", "B TO A", "MESSAGES", "LABEL")
		for i := range all {
			s := &all[i]
			t.row(s.Name, sideText(&s.A), sideText(&s.B), grouped(s.AtoB.Depth)+" wait", grouped(s.BtoA.Depth)+" wait", shortCell(s.Type), s.Label)
		}
		return t.Flush()
	}
	return cmd
}

func sideText(s *channel.SideStats) string {
	if len(s.Pids) > 0 {
		return users(s.Pids)
	}
	return s.State
}

func printChannel(t table, s *channel.Stats) {
	for _, side := range []struct {
		name string
		*channel.SideStats
	}{{"side A", &s.A}, {"side B", &s.B}} {
		t.row(side.name, fmt.Sprintf("%s; opened %s times so far", sideText(side.SideStats), grouped(int(side.Opened))))
	}
	printChannelWay(t, "A to B", &s.AtoB)
	printChannelWay(t, "B to A", &s.BtoA)
}

func printChannelWay(t table, name string, d *channel.Direction) {
	dropped := ""
	if d.Dropped > 0 {
		dropped = fmt.Sprintf(", %s of these for nobody", grouped(d.Dropped))
	}
	t.row(name, fmt.Sprintf("%s messages wait; %s of %s in use, at most %s so far", grouped(d.Depth), formatSize(int64(d.Used)), formatSize(int64(d.Capacity)), formatSize(int64(d.HighWater))))
	t.row("", fmt.Sprintf("%s sent (%s bytes), %s received%s; %s waits for room, %s for messages",
		grouped(d.Sent), grouped(d.Bytes), grouped(d.Received), dropped, grouped(d.SendWaits), grouped(d.ReceiveWaits)))
}

// chosen is the channel of a command, and its side.
type chosen struct {
	at       *place
	create   bool
	side     string
	capacity size
	raw      *channel.Raw
}

func (c *chosen) flags(cmd *cobra.Command) {
	c.capacity = channel.DefaultCapacity
	f := cmd.Flags()
	f.StringVarP(&c.side, "side", "s", "", "be at this `side`, A or B (default: B, or A with --create)")
	f.BoolVar(&c.create, "create", false, "make the channel, for bytes, if it does not exist, and be at its side A")
	f.Var(&c.capacity, "capacity", "with --create: `size` of each direction, rounded up to a power of two")
	cmd.RegisterFlagCompletionFunc("side", cobra.FixedCompletions([]string{"A", "B"}, cobra.ShellCompDirectiveNoFileComp))
}

func (c *chosen) check(cmd *cobra.Command) error {
	switch c.side = strings.ToUpper(c.side); {
	case c.side != "" && c.side != "A" && c.side != "B":
		return usagef("--side %q: a channel has A and B", c.side)
	case c.create && c.side == "B":
		return usagef("--create makes a channel and is at its side A; the other end takes side B")
	case cmd.Flag("capacity").Changed && !c.create:
		return usagef("--capacity is for who makes the channel: --create")
	}
	return nil
}

// with runs f with the channel open.
func (c *chosen) with(cmd *cobra.Command, name string, f func() error) error {
	if err := c.check(cmd); err != nil {
		return err
	}
	enter := c.at.find
	if c.create {
		enter = c.at.join
	}
	d, err := enter()
	if err != nil {
		return err
	}
	defer d.Close()
	if err := c.open(d, name); err != nil {
		if errors.Is(err, shiplap.ErrNotExist) {
			err = exitError{err, exitNotFound, "--create makes it; shiplap channel ls" + sameDomain(cmd) + " shows what there is"}
		}
		return err
	}
	return errors.Join(f(), c.raw.Close())
}

func (c *chosen) open(d *shiplap.Domain, name string) (err error) {
	if c.create {
		made, err := channel.Set[[]byte](d, name, &channel.Options{Capacity: int64(c.capacity)})
		if err == nil {
			c.raw = made.Raw()
		}
		if !errors.Is(err, shiplap.ErrExist) {
			return err
		}
		c.side = "A"
	}
	c.raw, err = channel.OpenRaw(d, name, &channel.Options{Side: channel.Side(c.side)})
	return err
}

// other is the side at which the others are.
func (c *chosen) other() channel.Side {
	if c.raw.Side() == channel.SideA {
		return channel.SideB
	}
	return channel.SideA
}
