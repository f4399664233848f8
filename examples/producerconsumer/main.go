// Producerconsumer is the first thing that people do with Python's multiprocessing: one process puts the numbers 0 to 4,
// another one gets and prints them; once over a queue, once over a pipe.
//
//	$ go run ./examples/producerconsumer
//	收到了 0
//	收到了 1
//	收到了 2
//	收到了 3
//	收到了 4
//	$ go run ./examples/producerconsumer -over pipe
//	(the same)
//
// What is what:
//
//	Python                             here
//	Process(target=f, args=("a",))     proc.Register("f", f); Spec{Func: "f", Args: []string{"a"}}
//	p.start(), p.join()                Manager.StartAll, Manager.Wait
//	q = Queue(); q.put(x), q.get()     queue.Create[int]; Put, Get, All
//	q.put(None) as an end marker       CloseQueue: All ends when everything was taken
//	a, b = Pipe()                      pipe.NewPair; A and B name its ends
//	Process(…, args=(a,))              Spec{…, Args: []string{pair.A()}}, and pipe.Take in the child
//	a.send(x), b.recv()                Send, Recv, io.EOF at the end
//
// As in Python, a child does not see what the parent did to a global variable: see count. Unlike there, queue and pipe have
// names, so that any process of the domain can open them; and a process that is killed leaves neither locked.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/pipe"
	"github.com/shiplap-ipc/shiplap/proc"
	"github.com/shiplap-ipc/shiplap/queue"
)

var count = 5 // numbers

func main() {
	proc.Register("queue producer", putNumbers)
	proc.Register("queue consumer", getNumbers)
	proc.Register("pipe producer", sendNumbers)
	proc.Register("pipe consumer", recvNumbers)
	proc.Init() // does not return in a process that runs one of them

	over := flag.String("over", "queue", "what carries the numbers: `queue` or pipe")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *over); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, over string) error {
	if over != "queue" && over != "pipe" {
		return fmt.Errorf("-over %q: queue or pipe is wanted", over)
	}
	d, err := shiplap.Join(fmt.Sprintf("example-producerconsumer-%d", os.Getpid()), nil)
	if err != nil {
		return err
	}
	defer os.RemoveAll(d.Dir())
	defer d.Close()
	args := map[string][]string{}
	if over == "queue" {
		q, err := queue.Create[int](d, "numbers", &queue.Options{Ephemeral: true})
		if err != nil {
			return err
		}
		defer q.Close()
	} else {
		p, err := pipe.NewPair(d, "numbers", nil)
		if err != nil {
			return err
		}
		defer p.Close()
		args["producer"], args["consumer"] = []string{p.A()}, []string{p.B()}
	}

	m, err := proc.New(d, &proc.Options{Output: proc.PassThrough})
	if err != nil {
		return err
	}
	defer m.Close()
	count = 1000 // which the children do not see: each begins as this program did
	for _, role := range []string{"producer", "consumer"} {
		if err := m.Add(proc.Spec{Name: role, Func: over + " " + role, Args: args[role]}); err != nil {
			return err
		}
	}
	if err := m.StartAll(ctx); err != nil {
		return err
	}
	return m.Wait(ctx)
}
