// Config is a configuration that several processes share: one key of a store. Three followers watch it; two writers
// change it at the same time, each its own part; a follower is killed, and in the end everybody has the same last value.
//
//	$ go run ./examples/config
//	a | begins with {Rate:0 Volume:0 Final:false}
//	b | begins with {Rate:0 Volume:0 Final:false}
//	c | begins with {Rate:0 Volume:0 Final:false}
//	b: killed by SIGKILL
//	b | begins with {Rate:3647 Volume:4009 Final:false}
//	a | ends with {Rate:5000 Volume:5000 Final:true}
//	c | ends with {Rate:5000 Volume:5000 Final:true}
//	b | ends with {Rate:5000 Volume:5000 Final:true}
//	10002 changes, none lost: {Rate:5000 Volume:5000 Final:true}
//
// What to look at:
//
//   - Whoever changes a part of the value reads it with its revision, and writes it back with Update, which refuses if somebody
//     else was first: see change. So neither writer undoes what the other did.
//   - Watch with Initial begins with what is there: a process that was started late, or again, needs nobody who
//     tells it. It may leave out values in between, never the last one.
//   - Nobody serves: the store lies in shared memory. Readers wait for nobody, and a writer that is killed leaves the
//     last value, and a store that others can change.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/proc"
	"github.com/shiplap-ipc/shiplap/store"
)

// Config is the configuration.
type Config struct {
	Rate, Volume int
	Final        bool // it will not change any more
}

const (
	key   = "config" // in the store
	steps = 5000     // changes of each writer
)

func main() {
	proc.Register("follow", follow)
	proc.Register("raise", raise)
	proc.Init() // does not return in a process that runs one of them

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// follow has the configuration at hand, always the last one.
func follow(ctx context.Context, self *proc.Child) error {
	s, err := store.Open(self.Domain(), "settings", nil)
	if err != nil {
		return err
	}
	defer s.Close()
	first := true
	for e, err := range store.As[Config](s).Watch(ctx, key, &store.WatchOptions{Initial: true}) {
		if err != nil {
			return err
		}
		if first {
			fmt.Printf("begins with %+v\n", e.Value)
			if err := self.Ready(); err != nil {
				return err
			}
			first = false
		}
		if e.Value.Final {
			fmt.Printf("ends with %+v\n", e.Value)
			return nil
		}
	}
	return nil
}

// raise changes one part of the configuration, step by step.
func raise(ctx context.Context, self *proc.Child) error {
	s, err := store.Open(self.Domain(), "settings", nil)
	if err != nil {
		return err
	}
	defer s.Close()
	for range steps {
		err := change(ctx, s, func(c *Config) {
			if self.Name() == "rate" {
				c.Rate++
			} else {
				c.Volume++
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// change changes the configuration as f says. f runs again, on the new value, if somebody else was first.
func change(ctx context.Context, s *store.Store, f func(*Config)) error {
	config := store.As[Config](s)
	for {
		e, err := config.Entry(key)
		if err != nil {
			return err
		}
		f(&e.Value)
		if _, err = config.Update(ctx, key, e.Value, e.Revision); !errors.Is(err, shiplap.ErrConflict) {
			return err
		}
	}
}

func run(ctx context.Context) error {
	d, err := shiplap.Join(fmt.Sprintf("example-config-%d", os.Getpid()), nil)
	if err != nil {
		return err
	}
	defer os.RemoveAll(d.Dir())
	defer d.Close()
	s, err := store.Create(d, "settings", &store.Options{MaxBytes: 64 << 10, Ephemeral: true})
	if err != nil {
		return err
	}
	defer s.Close()
	config := store.As[Config](s)
	if _, err := config.Create(ctx, key, Config{}); err != nil {
		return err
	}

	m, err := proc.New(d, &proc.Options{Output: os.Stdout})
	if err != nil {
		return err
	}
	defer m.Close()
	m.OnUnexpectedExit(func(name string, exit proc.Exit) { fmt.Printf("%s: %v\n", name, exit) })
	back := make(chan bool, 1)
	m.OnAfterRestart(func(string) { back <- true })
	for _, name := range []string{"a", "b", "c"} {
		err := m.Add(proc.Spec{Name: name, Func: "follow", Ready: proc.ReadyWord,
			Restart: proc.OnFailure, Backoff: proc.Backoff{First: 10 * time.Millisecond}})
		if err != nil {
			return err
		}
	}
	for _, name := range []string{"rate", "volume"} {
		if err := m.Add(proc.Spec{Name: name, Func: "raise", After: []string{"a", "b", "c"}}); err != nil {
			return err
		}
	}
	if err := m.StartAll(ctx); err != nil {
		return err
	}

	for e, err := range config.Watch(ctx, key, &store.WatchOptions{Initial: true}) { // this process follows, too
		if err != nil {
			return err
		}
		if e.Value.Rate+e.Value.Volume >= steps/5 {
			break
		}
	}
	if err := m.Signal("b", syscall.SIGKILL); err != nil {
		return err
	}
	select {
	case <-back:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := m.Wait(ctx, "rate", "volume"); err != nil {
		return err
	}
	if err := change(ctx, s, func(c *Config) { c.Final = true }); err != nil {
		return err
	}
	if err := m.Wait(ctx); err != nil {
		return err
	}

	e, err := config.Entry(key)
	if err != nil {
		return err
	}
	if want := (Config{steps, steps, true}); e.Value != want || e.Revision != 2*steps+2 {
		return fmt.Errorf("after %d changes it is %+v", e.Revision, e.Value)
	}
	fmt.Printf("%d changes, none lost: %+v\n", e.Revision, e.Value)
	return nil
}
