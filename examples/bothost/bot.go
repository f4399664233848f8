package main

import (
	"context"
	"fmt"

	"github.com/shiplap-ipc/shiplap/proc"
	"github.com/shiplap-ipc/shiplap/store"
)

// nonebot is the bot that is a function of this program. It runs in a process of its own, again after each crash.
func nonebot(ctx context.Context, self *proc.Child) error {
	c, err := share(self.Domain())
	if err != nil {
		return err
	}
	defer c.Close()
	received := func(how string, what any) {
		fmt.Println(how, what)
		if _, err := c.storage.Add(ctx, "received", 1); err != nil && ctx.Err() == nil {
			fmt.Println(err)
		}
	}

	go c.sub.OnMessage(ctx, func(e Event) { received("event", e) })

	passive, err := self.Passive()
	if err != nil {
		return err
	}
	texts := func(v any) bool { _, text := v.(string); return text }
	_, err = passive.OnReceive(func(_ context.Context, v any) { received("Passive receive:", v) }, texts)
	if err != nil {
		return err
	}

	owner, err := store.GetOr(c.storage, "owner", "nobody")
	if err != nil {
		return err
	}
	online := Event{"online", map[string]any{"bot": self.Name(), "owner": owner, "life": self.Restarts() + 1}}
	if err := c.events.Publish(ctx, online); err != nil {
		return err
	}
	if err := self.Ready(); err != nil {
		return err
	}

	active, err := self.Active()
	if err != nil {
		return err
	}
	for v, err := range active.All(ctx) {
		if err != nil {
			return err
		}
		received("Active receive:", v)
	}
	return nil
}
