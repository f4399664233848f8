package channel_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

// TestMain is victim, peer or test run; the latter must leave nothing behind.
func TestMain(m *testing.M) {
	killtest.RunVictim(append(interruptScenarios(), scenarios()...)...)
	roles.Run(&shiplap.Options{NoSweep: true})
	leaktest.Main(m)
}

var bg = killtest.Background()

// soon bounds what must not take long.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(bg, 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func ok(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func is(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v; %v is wanted", what, err, want)
	}
}

// domain is one of its own for the test.
func domain(t testing.TB) *shiplap.Domain {
	t.Helper()
	d, err := shiplap.Join("", &shiplap.Options{Dir: t.TempDir()})
	ok(t, err)
	t.Cleanup(func() { ok(t, d.Close()) })
	return d
}

// closing closes at the end of the test what the test may have closed itself.
func closing[T any](t testing.TB) func(*channel.Channel[T], error) *channel.Channel[T] {
	return func(c *channel.Channel[T], err error) *channel.Channel[T] {
		t.Helper()
		ok(t, err)
		t.Cleanup(func() {
			if err := c.Close(); err != nil && !errors.Is(err, shiplap.ErrClosed) {
				t.Error(err)
			}
		})
		return c
	}
}

func set[T any](t testing.TB, d *shiplap.Domain, name string, opt *channel.Options) *channel.Channel[T] {
	t.Helper()
	return closing[T](t)(channel.Set[T](d, name, opt))
}

func get[T any](t testing.TB, d *shiplap.Domain, name string, opt *channel.Options) *channel.Channel[T] {
	t.Helper()
	return closing[T](t)(channel.Get[T](d, name, opt))
}

func pair[T any](t testing.TB, opt *channel.Options) (a, b *channel.Channel[T]) {
	t.Helper()
	d := domain(t)
	return set[T](t, d, "c", opt), get[T](t, d, "c", opt)
}

// receives checks the next message.
func receives[T comparable](t testing.TB, c *channel.Channel[T], want T) {
	t.Helper()
	v, err := c.Receive(soon(t))
	if err != nil || v != want {
		t.Fatalf("%v received %v (%v); %v is wanted", c, v, err, want)
	}
}

func sends[T any](t testing.TB, c *channel.Channel[T], vs ...T) {
	t.Helper()
	for _, v := range vs {
		ok(t, c.Send(soon(t), v))
	}
}

// eventually waits for something that is about to happen and that nobody tells of.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}
