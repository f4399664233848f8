package shiplap_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
	"github.com/shiplap-ipc/shiplap/pipe"
	"github.com/shiplap-ipc/shiplap/queue"
	"github.com/shiplap-ipc/shiplap/store"
	"github.com/shiplap-ipc/shiplap/topic"
)

// waiter is a new object that goes with its last handle, and a call on it that waits.
type waiter struct {
	wait  func(ctx context.Context) error
	close func() error
}

var ephemeralKinds = map[string]func(d *shiplap.Domain) (waiter, error){
	"queue": func(d *shiplap.Domain) (waiter, error) {
		q, err := queue.CreateRaw(d, "x", &queue.Options{Ephemeral: true})
		return waiter{func(ctx context.Context) error { _, err := q.Get(ctx, nil); return err }, q.Close}, err
	},
	"pipe": func(d *shiplap.Domain) (waiter, error) {
		e, err := pipe.Create(d, "x", &pipe.Options{Ephemeral: true})
		return waiter{func(ctx context.Context) error { _, err := e.Recv(ctx, nil); return err }, e.Close}, err
	},
	"topic": func(d *shiplap.Domain) (waiter, error) {
		all, err := topic.CreateRaw(d, "x", &topic.Options{Ephemeral: true})
		if err != nil {
			return waiter{}, err
		}
		s, err := all.Subscribe(nil)
		return waiter{
			func(ctx context.Context) error { _, err := s.Receive(ctx, nil); return err },
			func() error { return errors.Join(s.Close(), all.Close()) },
		}, err
	},
	"event": func(d *shiplap.Domain) (waiter, error) {
		e, err := lock.CreateEvent(d, "x", &lock.Options{Ephemeral: true})
		return waiter{e.Wait, e.Close}, err
	},
	"barrier": func(d *shiplap.Domain) (waiter, error) {
		b, err := lock.CreateBarrier(d, "x", 2, &lock.Options{Ephemeral: true})
		return waiter{func(ctx context.Context) error { _, err := b.Wait(ctx); return err }, b.Close}, err
	},
	"store": func(d *shiplap.Domain) (waiter, error) {
		s, err := store.Create(d, "x", &store.Options{Ephemeral: true})
		return waiter{func(ctx context.Context) error {
			for _, err := range s.Watch(ctx, "*", nil) {
				return err
			}
			return nil
		}, s.Close}, err
	},
}

// The last Close of an ephemeral object takes it away. Those who wait through that very handle are told that it was
// closed, and not that somebody removed the object.
func TestCloseOfEphemeral(t *testing.T) {
	for name, create := range ephemeralKinds {
		t.Run(name, func(t *testing.T) {
			d, err := shiplap.Join("", &shiplap.Options{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			for i := range 100 {
				w, err := create(d)
				if err != nil {
					t.Fatal(err)
				}
				started, told := make(chan struct{}), make(chan error)
				go func() {
					close(started)
					told <- w.wait(context.Background())
				}()
				<-started
				for range i { // so that some wait by now, and some do not
					runtime.Gosched()
				}
				if err := w.close(); err != nil {
					t.Error(err)
				}
				if err := <-told; !errors.Is(err, shiplap.ErrClosed) {
					t.Fatalf("round %d: %v; %v is wanted", i, err, shiplap.ErrClosed)
				}
			}
		})
	}
}
