package channel_test

import (
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
)

var roles = peertest.Roles[string]{
	"hold": hold, "own": own, "receive": receiver, "send": sender, "forward": forward, "reply": replier, "lend": lender, "block": block,
	"echo": echo,
}

// hold has side B open until it ends, and does nothing with it.
func hold(d *shiplap.Domain, name string) error {
	c, err := channel.Get[int](d, name, nil)
	if err != nil {
		return err
	}
	peertest.Say("has it")
	<-peertest.StdinEnds()
	return c.Close()
}

// own is hold on side A.
func own(d *shiplap.Domain, name string) error {
	c, err := channel.GetOwn[int](d, name, nil)
	if err != nil {
		return err
	}
	peertest.Say("has it")
	<-peertest.StdinEnds()
	return c.Close()
}

// receiver says what it receives, and how that ends.
func receiver(d *shiplap.Domain, name string) error {
	c, err := channel.Get[int](d, name, nil)
	if err != nil {
		return err
	}
	peertest.Say("has it")
	ctx, cancel := context.WithCancel(bg)
	go func() {
		<-peertest.StdinEnds()
		cancel()
	}()
	for {
		v, err := c.Receive(ctx)
		switch {
		case err == io.EOF:
			peertest.Say("end")
			return c.Close()
		case errors.Is(err, shiplap.ErrPeerGone):
			peertest.Say("death")
			return c.Close()
		case errors.Is(err, context.Canceled):
			return c.Close()
		case err != nil:
			return err
		}
		peertest.Say(v)
	}
}

// sender sends 0, 1 … until it is killed or the other side is gone.
func sender(d *shiplap.Domain, name string) error {
	c, err := channel.Get[int](d, name, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	for i := 0; ; i++ {
		if err := c.Send(bg, i); err != nil {
			peertest.Say(err)
			return nil
		}
		if i == 0 {
			peertest.Say("going")
		}
	}
}

// block has a handler that never returns.
func block(d *shiplap.Domain, name string) error {
	c, err := channel.Get[int](d, name, nil)
	if err != nil {
		return err
	}
	if _, err = c.OnReceive(func(context.Context, int) { peertest.Say("blocked"); select {} }); err != nil {
		return err
	}
	peertest.Say("has it")
	<-peertest.StdinEnds()
	return c.Close()
}

// parcel is a message that carries channels.
type parcel struct {
	Text  string
	Reply channel.Ref[string]
}

// forward takes parcels from the channel arg and passes them on, over the channel arg+1.
func forward(d *shiplap.Domain, name string) error {
	n, _ := strconv.Atoi(name)
	from, err := channel.Get[parcel](d, name, nil)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := channel.GetOwn[parcel](d, strconv.Itoa(n+1), nil)
	if err != nil {
		return err
	}
	defer to.Close()
	peertest.Say("has it")
	for p, err := range from.All(bg) {
		if err != nil {
			return err
		}
		p.Text += "," + name
		if err := to.Send(bg, p); err != nil {
			return err
		}
	}
	return nil
}

// replier answers each parcel over the channel that it carries.
func replier(d *shiplap.Domain, name string) error {
	from, err := channel.Get[parcel](d, name, nil)
	if err != nil {
		return err
	}
	defer from.Close()
	peertest.Say("has it")
	for p, err := range from.All(bg) {
		if err != nil {
			return err
		}
		reply, err := p.Reply.Open(d, nil)
		if errors.Is(err, shiplap.ErrNotExist) {
			peertest.Say("gone")
			continue
		}
		if err != nil {
			return err
		}
		if err := reply.Send(bg, "re: "+p.Text); err != nil {
			return err
		}
		back, err := reply.Receive(bg)
		if err != nil {
			return err
		}
		peertest.Say(back)
		if err := reply.Close(); err != nil {
			return err
		}
	}
	return nil
}

// lender sends a parcel and stays.
func lender(d *shiplap.Domain, name string) error {
	to, err := channel.GetOwn[parcel](d, name, nil)
	if err != nil {
		return err
	}
	c, err := channel.Anonymous[string](d, nil)
	if err != nil {
		return err
	}
	ref, err := c.Ref(channel.SideB)
	if err != nil {
		return err
	}
	if err := to.Send(bg, parcel{"x", ref}); err != nil {
		return err
	}
	peertest.Say(c.Name())
	<-peertest.StdinEnds()
	return nil
}
