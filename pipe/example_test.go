package pipe_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/pipe"
)

// exampleEnd tells a child of the example which end is its own.
const exampleEnd = "EXAMPLE_END"

// exampleChild is what the children of the example run: one sends, the other prints.
func exampleChild(end string) {
	d, err := shiplap.Join("example", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	e, err := pipe.Take(d, end, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	if os.Args[1] == "send" {
		for i := range 3 {
			if err := e.Send(context.Background(), fmt.Append(nil, "message ", i)); err != nil {
				log.Fatal(err)
			}
		}
		return
	}
	for {
		b, err := e.Recv(context.Background(), nil)
		if err == io.EOF { // the sender is through
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(b))
	}
}

// A parent makes a pipe for two children, as with multiprocessing.Pipe of Python. The one that sends
// may be through before the other one begins.
func ExamplePair() {
	d, err := shiplap.Join("example", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	p, err := pipe.NewPair(d, "", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	for _, child := range []struct{ does, end string }{{"send", p.A()}, {"print", p.B()}} {
		cmd := exec.Command(os.Args[0], child.does)
		cmd.Env = append(os.Environ(), exampleEnd+"="+child.end)
		out, err := cmd.CombinedOutput()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(string(out))
	}
	// Output:
	// message 0
	// message 1
	// message 2
}
