// Counter lets several processes add to one number in shared memory, in three ways, and kills one of them in
// the middle of an addition. README.md tells the story.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
)

const (
	workers = 4
	each    = 50_000 // additions of a process
	fatal   = 12_345 // the one in the middle of which the first process is killed
	want    = (workers-1)*each + fatal - 1
)

// counter is a number that processes share.
type counter interface {
	// add adds 1 for process who. In the middle of it, it calls pause.
	add(ctx context.Context, who int, pause func()) error
	total(ctx context.Context) (int64, error)
	Close() error
}

var ways = []struct {
	name, title string
	open        func(*shiplap.Domain) (counter, error)
}{
	{"lock", "a lock.Mutex around plain memory", openLocked},
	{"update", "shared.Value.Update", openUpdated},
	{"add", "shared.Add, one atomic instruction", openWord},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if args := os.Args[1:]; len(args) == 4 && args[0] == "worker" {
		err = worker(ctx, args[1], args[2], args[3])
	} else {
		err = run(ctx, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run is the parent. All takes place in a domain of its own, which goes with it.
func run(ctx context.Context, out io.Writer) error {
	// Workers are to die with the parent. The kernel takes that for the thread that started them.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d, err := shiplap.Join(fmt.Sprintf("example-counter-%d", os.Getpid()), nil)
	if err != nil {
		return err
	}
	defer os.RemoveAll(d.Dir())
	defer d.Close()

	fmt.Fprintf(out, "%d processes add 1 to one number, %d times each. Process 1 is killed in the middle of its addition %d.\n", workers, each, fatal)
	for i, w := range ways {
		fmt.Fprintf(out, "\n%s\n", w.title)
		if err := compete(ctx, d, i, out); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	return nil
}

func compete(ctx context.Context, d *shiplap.Domain, way int, out io.Writer) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := ways[way].open(d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()

	ended := make(chan error, workers)
	working := 0
	defer func() {
		cancel() // which kills those who are left when something failed
		for ; working > 0; working-- {
			<-ended
		}
	}()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	var victim *exec.Cmd
	for who := range workers {
		p := exec.CommandContext(ctx, "/proc/self/exe", "worker", d.Name(), strconv.Itoa(way), strconv.Itoa(who))
		p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		p.Stdout, p.Stderr = out, os.Stderr
		if who == 0 {
			p.Stdout, victim = w, p
		}
		if err := p.Start(); err != nil {
			return err
		}
		working++
		go func() {
			err := p.Wait()
			switch {
			case who == 0:
				err = nil
			case err != nil:
				err = fmt.Errorf("process %d: %w", who+1, err)
				cancel() // others may wait for it
			}
			ended <- err
		}()
	}
	w.Close()

	_, err = bufio.NewReader(r).ReadString('\n')
	if err == nil {
		fmt.Fprintln(out, "  process 1 stands still in the middle: kill -9")
		victim.Process.Kill()
	}
	for ; working > 0; working-- {
		err = errors.Join(err, <-ended)
	}
	if err != nil {
		return err
	}
	got, err := c.total(ctx)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("the number is %d, and should be %d", got, want)
	}
	fmt.Fprintf(out, "  the number is %d = %d × %d + %d, as it should be\n", got, workers-1, each, fatal-1)
	return nil
}

// worker is one of the processes that count.
func worker(ctx context.Context, domain, way, who string) error {
	number, err := strconv.Atoi(who)
	if err != nil {
		return err
	}
	i, err := strconv.Atoi(way)
	if err != nil || i < 0 || i >= len(ways) {
		return fmt.Errorf("no way %q", way)
	}
	d, err := shiplap.Join(domain, nil)
	if err != nil {
		return err
	}
	defer d.Close()
	c, err := ways[i].open(d)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := together(ctx, d, ways[i].name); err != nil {
		return err
	}
	for n := 1; n <= each; n++ {
		pause := func() {}
		if number == 0 && n == fatal {
			pause = func() {
				fmt.Println("in the middle")
				<-ctx.Done() // which it does not live to see
			}
		}
		if err := c.add(ctx, number, pause); err != nil {
			return err
		}
	}
	return nil
}

// together waits until all workers are there.
func together(ctx context.Context, d *shiplap.Domain, way string) error {
	b, err := lock.OpenOrCreateBarrier(d, "start-"+way, workers, &lock.Options{Ephemeral: true})
	if err != nil {
		return err
	}
	_, err = b.Wait(ctx)
	return errors.Join(err, b.Close())
}
