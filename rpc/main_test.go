package rpc_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/rpc"
)

// TestMain is victim, peer or test run; the latter must leave nothing behind.
func TestMain(m *testing.M) {
	killtest.RunVictim(interruptScenarios()...)
	roles.Run(nil)
	leaktest.Main(m)
}

var bg = killtest.Background()

// soon bounds what must not take long.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(bg, 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
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

type closer interface{ Close() error }

// closing closes at the end of the test what the test may have closed itself.
func closing[T closer](t testing.TB) func(T, error) T {
	return func(c T, err error) T {
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

func dial(t testing.TB, d *shiplap.Domain) *rpc.Client {
	t.Helper()
	return closing[*rpc.Client](t)(rpc.Dial(soon(t), d, "s", nil))
}

func eventually(f func() bool) bool {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Microsecond) {
		if f() {
			return true
		}
	}
	return f()
}

var roles = peertest.Roles[int]{
	"serve": serveUntilEnd, "call": callAndWait, "calls": callMany, "bench queue": benchQueuePeer,
	"serve and die": serveAndDie, "call and die": callAndDie,
}
