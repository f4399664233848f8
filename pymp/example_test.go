//go:build linux

package pymp_test

import (
	"context"
	"fmt"
	"log"

	"github.com/shiplap-ipc/shiplap/pymp"
)

// In Python: ShareableList(name="…") sees the list, and what is stored in it here.
func ExampleCreateShareableList() {
	l, err := pymp.CreateShareableList("", []any{"step", 1, 0.5, nil}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	defer l.Unlink()
	if err := l.Set(1, 2); err != nil {
		log.Fatal(err)
	}
	items, err := l.Items()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", items[:1])
	fmt.Println(items[1:])
	// Output:
	// ["step"]
	// [2 0.5 <nil>]
}

// In Python: Client(("127.0.0.1", port), authkey=b"secret").send({"add": [1, 2]})
func ExampleListen() {
	ctx := context.Background()
	opts := &pymp.Options{AuthKey: []byte("secret")}
	l, err := pymp.Listen(ctx, "tcp", "127.0.0.1:0", opts)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := pymp.Dial(ctx, "tcp", l.Addr().String(), opts)
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close()
		if err := c.Send(ctx, map[string]any{"add": []int{1, 2}}); err != nil {
			log.Fatal(err)
		}
	}()
	c, err := l.Accept(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	v, err := c.Recv(ctx)
	if err != nil {
		log.Fatal(err)
	}
	add, _ := v.(*pymp.Dict).Get("add")
	fmt.Println(add)
	// Output: [1 2]
}
