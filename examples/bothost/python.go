package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
	"github.com/shiplap-ipc/shiplap/proc"
	"github.com/shiplap-ipc/shiplap/pymp"
)

//go:embed pybot.py
var script string

// bridge carries what is sent to the channel pybot-active to the Python process, and back.
type bridge struct {
	channel  *channel.Channel[any] // the bot's side
	listener *pymp.Listener
	cancel   context.CancelFunc
	ended    chan struct{}
}

// addPython adds the Python process, whose channels are there from then on, and makes the bridge to it.
func addPython(ctx context.Context, m *proc.Manager, d *shiplap.Domain, python string) (*bridge, error) {
	socket, key := d.Name(), []byte(rand.Text())
	err := m.Add(proc.Spec{Name: "pybot", Command: []string{python, "-u", "-c", script}, After: []string{"nonebot"},
		Env:     []string{"PYBOT_SOCKET=" + socket, fmt.Sprintf("PYBOT_KEY=%x", key)},
		Restart: proc.OnFailure, Ready: proc.ReadyWord})
	if err != nil {
		return nil, err
	}
	b := &bridge{ended: make(chan struct{})}
	if b.channel, err = channel.Get[any](d, "pybot-active", nil); err != nil {
		return nil, err
	}
	if b.listener, err = pymp.Listen(ctx, "unix", "@"+socket, &pymp.Options{AuthKey: key}); err != nil {
		b.channel.Close()
		return nil, err
	}
	ctx, b.cancel = context.WithCancel(context.Background()) // not with ctx: the process is stopped first
	go b.serve(ctx)
	return b, nil
}

func (b *bridge) Close() error {
	b.cancel()
	<-b.ended
	return errors.Join(b.listener.Close(), b.channel.Close())
}

// serve takes the process's connection, and after each restart the next one.
func (b *bridge) serve(ctx context.Context) {
	defer close(b.ended)
	for {
		conn, err := b.listener.Accept(ctx)
		if bad := (*pymp.HandshakeError)(nil); errors.As(err, &bad) { // somebody else
			fmt.Fprintln(os.Stderr, "pybot:", err)
			continue
		}
		if err != nil {
			return
		}
		b.carry(ctx, conn)
		conn.Close()
	}
}

// carry returns when the connection ends. A message on its way when the process died is gone.
func (b *bridge) carry(ctx context.Context, conn *pymp.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	var both sync.WaitGroup
	both.Go(func() { defer cancel(); pump(ctx, b.channel.Receive, conn.Send) })
	both.Go(func() { defer cancel(); pump(ctx, conn.Recv, b.channel.Send) })
	both.Wait()
}

// pump carries plain data in one direction: texts, numbers, lists. Where there are dicts, send their Map.
func pump(ctx context.Context, receive func(context.Context) (any, error), send func(context.Context, any) error) {
	for {
		v, err := receive(ctx)
		if err == nil {
			err = send(ctx, v)
		}
		switch {
		case errors.Is(err, pymp.ErrPickle), errors.Is(err, shiplap.ErrIncompatible):
			fmt.Fprintln(os.Stderr, "pybot:", err) // it is no plain data
		case err != nil:
			return // the process has ended, which the manager tells
		}
	}
}
