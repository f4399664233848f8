package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
	"github.com/shiplap-ipc/shiplap/proc"
)

// host is the main process.
type host struct {
	interval     time.Duration
	rounds, kill int
	python       string
}

func (h *host) run(ctx context.Context) error {
	d, err := shiplap.Join(fmt.Sprintf("example-bothost-%d", os.Getpid()), nil)
	if err != nil {
		return err
	}
	defer os.RemoveAll(d.Dir())
	defer d.Close()
	c, err := share(d)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.storage.Set(ctx, "owner", []byte("liteyuki")); err != nil {
		return err
	}

	m, err := proc.New(d, &proc.Options{Output: os.Stdout})
	if err != nil {
		return err
	}
	defer m.Close()
	printHooks(m)
	if err := m.Add(proc.Spec{Name: "nonebot", Func: "nonebot", Restart: proc.OnFailure, Ready: proc.ReadyWord}); err != nil {
		return err
	}
	var pybot *channel.Channel[any]
	if python, err := exec.LookPath(h.python); err != nil {
		fmt.Println("without pybot:", err)
	} else {
		b, err := addPython(ctx, m, d, python)
		if err != nil {
			return err
		}
		defer b.Close()
		if pybot, err = m.Active("pybot"); err != nil {
			return err
		}
		_, err = pybot.OnReceive(func(ctx context.Context, v any) {
			fmt.Println("Passive receive:", v)
			if _, err := c.storage.Add(ctx, "answers", 1); err != nil && ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, err)
			}
		})
		if err != nil {
			return err
		}
	}

	printed := make(chan struct{})
	go func() {
		defer close(printed)
		c.sub.OnMessage(context.Background(), func(e Event) { fmt.Println("event", e) })
	}()
	err = m.StartAll(ctx)
	if err == nil {
		err = h.talk(ctx, m, c, pybot)
	}
	if ctx.Err() != nil {
		err = nil // Ctrl-C
	}
	err = errors.Join(err, m.StopAll(context.Background()), c.events.CloseTopic())
	<-printed // all events
	all, more := c.storage.All(context.Background(), "")
	for _, e := range all {
		fmt.Printf("storage: %s = %s\n", e.Key, e.Value)
	}
	return errors.Join(err, more)
}

// talk sends the bots their messages, round by round, and waits until they have received them.
func (h *host) talk(ctx context.Context, m *proc.Manager, c *common, pybot *channel.Channel[any]) error {
	active, err := m.Active("nonebot")
	if err != nil {
		return err
	}
	passive, err := m.Passive("nonebot")
	if err != nil {
		return err
	}
	back := make(chan bool, 1)
	m.OnAfterRestart(func(string) {
		select {
		case back <- true:
		default: // somebody else killed one
		}
	})
	sent := 1 // its own event
	tick := time.NewTicker(h.interval)
	defer tick.Stop()
	for round := 1; h.rounds == 0 || round <= h.rounds; round++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := errors.Join(
			passive.Send(ctx, "I am liteyuki main process passive"),
			passive.Send(ctx, round), // no text: the bot's filter does not let it through
			active.Send(ctx, "I am liteyuki main process active"),
		); err != nil {
			return err
		}
		sent += 2
		if pybot != nil {
			if err := pybot.Send(ctx, "I am liteyuki main process active"); err != nil {
				return err
			}
		}
		if round != h.kill {
			continue
		}
		// A message that a process had in its hands when it was killed is gone with it. So wait until it has none.
		if err := c.reached(ctx, "received", sent); err != nil {
			return err
		}
		if err := m.Signal("nonebot", syscall.SIGKILL); err != nil {
			return err
		}
		sent++ // its event when it is back
		select {
		case <-back:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err = c.reached(ctx, "received", sent)
	if err == nil && pybot != nil {
		err = c.reached(ctx, "answers", h.rounds)
	}
	return err
}

func printHooks(m *proc.Manager) {
	say := func(what string) func(string) {
		return func(name string) { fmt.Printf("hook: %s of %s\n", what, name) }
	}
	m.OnBeforeStart(say("before the start"))
	m.OnAfterStart(say("after the start"))
	m.OnBeforeShutdown(say("before the shutdown"))
	m.OnAfterShutdown(say("after the shutdown"))
	m.OnBeforeRestart(say("before the restart"))
	m.OnAfterRestart(say("after the restart"))
	m.OnUnexpectedExit(func(name string, exit proc.Exit) { fmt.Printf("hook: unexpected end of %s: %v\n", name, exit) })
}
