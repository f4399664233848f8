package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/store"
	"github.com/shiplap-ipc/shiplap/topic"
)

// Event is what is published: a name, and data.
type Event struct {
	Name string
	Data map[string]any
}

func (e Event) String() string { return fmt.Sprintf("%s %v", e.Name, e.Data) }

// common is what main process and bot share: a storage, and a topic that both are subscribed to.
type common struct {
	storage *store.Store
	events  *topic.Topic[Event]
	sub     *topic.Subscription[Event]
}

func share(d *shiplap.Domain) (c *common, err error) {
	c = &common{}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if c.storage, err = store.OpenOrCreate(d, "storage", &store.Options{MaxBytes: 1 << 20, Ephemeral: true}); err != nil {
		return c, err
	}
	if c.events, err = topic.OpenOrCreate[Event](d, "events", &topic.Options{Capacity: 64 << 10, Ephemeral: true}); err != nil {
		return c, err
	}
	c.sub, err = c.events.Subscribe(nil)
	return c, err
}

func (c *common) Close() (err error) {
	if c.events != nil {
		err = c.events.Close() // and the subscription
	}
	if c.storage != nil {
		err = errors.Join(err, c.storage.Close())
	}
	return err
}

// reached waits until a count in the storage is n.
func (c *common) reached(ctx context.Context, key string, n int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	last := 0
	for e, err := range store.As[int](c.storage).Watch(ctx, key, &store.WatchOptions{Initial: true}) {
		if err != nil {
			return fmt.Errorf("%s is %d, and not %d: %w", key, last, n, err)
		}
		if last = e.Value; last >= n {
			break
		}
	}
	return nil
}
