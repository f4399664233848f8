package queue

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/row"
)

func lifetimeQueue(t *testing.T, opt *Options) (d *shiplap.Domain, stay *Raw) {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "shiplap-test-")
	if err != nil {
		t.Fatal(err)
	}
	d, err = shiplap.Join("", &shiplap.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	stay, err = CreateRaw(d, "q", opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(stay.Close(), d.Close(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return d, stay
}

func received(t *testing.T, q *Raw) *RawDelivery {
	t.Helper()
	d, err := q.TryReceive()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// An Ack that meets Close: it is done, or the message goes to the next consumer.
func TestAckMeetsClose(t *testing.T) {
	d, stay := lifetimeQueue(t, &Options{Ack: true})
	rounds := 2000
	if testing.Short() {
		rounds = 300
	}
	var acked int
	for i := range rounds {
		q, err := OpenRaw(d, "q", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := stay.TryPut([]byte("m")); err != nil {
			t.Fatal(err)
		}
		msg := received(t, q)
		done := make(chan error)
		go func() { done <- msg.Ack() }()
		for range i % 4 {
			runtime.Gosched()
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		switch err := <-done; {
		case err == nil:
			acked++
		case !errors.Is(err, shiplap.ErrClosed):
			t.Fatal(err)
		default:
			if err := received(t, stay).Ack(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := stay.TryReceive(); !errors.Is(err, shiplap.ErrEmpty) {
			t.Fatalf("round %d: there is more: %v", i, err)
		}
	}
	t.Logf("%d of %d acknowledged", acked, rounds)
}

// No lease is taken out of the table by a call that does not get into the gate.
func TestAckOutside(t *testing.T) {
	d, _ := lifetimeQueue(t, &Options{Ack: true})
	for i := range 20 {
		q, err := OpenRaw(d, "q", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := q.TryPut([]byte("m")); err != nil {
			t.Fatal(err)
		}
		msg := received(t, q)
		q.mu.Lock() // the Ack stops here, inside of the gate or before it
		done := make(chan error)
		go func() { done <- msg.Ack() }()
		for range i {
			runtime.Gosched()
		}
		if err := q.obj.Close(); err != nil {
			t.Fatal(err)
		}
		q.mu.Unlock()
		if err := <-done; err != nil && len(q.leases) == 0 {
			t.Fatalf("the message is in nobody's hands: %v", err)
		}
		for _, ls := range q.leases { // what Close would have done before it closed the gate
			q, err := OpenRaw(d, "q", nil)
			if err != nil {
				t.Fatal(err)
			}
			settled(t, q, ls)
		}
	}
}

func settled(t *testing.T, q *Raw, ls row.Lease) {
	t.Helper()
	if err := errors.Join(q.row.Settle(ls, true), q.Close()); err != nil {
		t.Fatal(err)
	}
}

// What the function saw is taken when it panics, and nothing else is.
func TestGetManyPanics(t *testing.T) {
	for name, c := range map[string]struct {
		opt       *Options
		exclusive bool
	}{
		"shared": {&Options{}, false}, "exclusive": {&Options{}, true}, "acknowledged": {&Options{Ack: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			d, stay := lifetimeQueue(t, c.opt)
			q, err := OpenRaw(d, "q", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			getMany := q.GetMany
			if c.exclusive {
				side, err := q.Consumer(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				defer side.Close()
				getMany = side.GetMany
			}
			for _, m := range []string{"a", "b", "c", "d"} {
				if err := stay.TryPut([]byte(m)); err != nil {
					t.Fatal(err)
				}
			}
			var seen string
			take := func(m []byte) error {
				if seen += string(m); seen == "ab" {
					panic("enough")
				}
				return nil
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			func() {
				defer func() {
					if v := recover(); v != "enough" {
						t.Fatalf("recovered %v", v)
					}
				}()
				_, err := getMany(ctx, 10, take)
				t.Errorf("GetMany: %v", err)
			}()
			if s, err := q.Stats(); err != nil || s.Depth != 2 {
				t.Errorf("%+v, %v", s, err)
			}
			if n, err := getMany(ctx, 10, take); n != 2 || err != nil || seen != "abcd" {
				t.Errorf("%d, %v: saw %q", n, err, seen)
			}
			if s, err := q.Stats(); err != nil || s.Depth != 0 {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}
