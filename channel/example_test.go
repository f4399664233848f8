package channel_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
)

// One side receives actively, the other by handlers. Both stand here in one process; they need not.
func Example() {
	dir, err := os.MkdirTemp("/dev/shm", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	d, err := shiplap.Join("", &shiplap.Options{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()

	main, err := channel.Set[any](d, "worker", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer main.Close()
	worker, err := channel.Get[any](d, "worker", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer worker.Close()

	ctx := context.Background()
	text := func(v any) bool { _, ok := v.(string); return ok }
	_, err = worker.OnReceive(func(ctx context.Context, v any) {
		if err := worker.Send(ctx, fmt.Sprint("got ", v)); err != nil {
			log.Print(err)
		}
	}, text)
	if err != nil {
		log.Fatal(err)
	}
	for _, v := range []any{"one", 2, "three"} {
		if err := main.Send(ctx, v); err != nil {
			log.Fatal(err)
		}
	}
	for range 2 {
		v, err := main.Receive(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(v)
	}
	// Output:
	// got one
	// got three
}

// A request carries the channel for its reply.
func ExampleRef() {
	dir, err := os.MkdirTemp("/dev/shm", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	d, err := shiplap.Join("", &shiplap.Options{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()

	type request struct {
		N     int
		Reply channel.Ref[int]
	}
	asks, err := channel.Set[request](d, "squares", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer asks.Close()
	answers, err := channel.Get[request](d, "squares", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer answers.Close()
	_, err = answers.OnReceive(func(ctx context.Context, r request) {
		reply, err := r.Reply.Open(d, nil)
		if err != nil {
			log.Print(err) // who asked is gone
			return
		}
		defer reply.Close()
		if err := reply.Send(ctx, r.N*r.N); err != nil {
			log.Print(err)
		}
	})
	if err != nil {
		log.Fatal(err)
	}

	mine, err := channel.Anonymous[int](d, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer mine.Close()
	ref, err := mine.Ref(channel.SideB)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := asks.Send(ctx, request{7, ref}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(mine.Receive(ctx))
	// Output: 49 <nil>
}
