package shared_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/shared"
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
	ctx, cancel := context.WithTimeout(bg, 20*time.Second)
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
	dir := t.TempDir()
	d, err := shiplap.Join("", &shiplap.Options{Dir: dir})
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

func value[T any](t testing.TB, d *shiplap.Domain, name string, initial T) *shared.Value[T] {
	t.Helper()
	return closing[*shared.Value[T]](t)(shared.CreateValue(d, name, initial, nil))
}

func array[T any](t testing.TB, d *shiplap.Domain, name string, opt *shared.ArrayOptions, shape ...int) *shared.Array[T] {
	t.Helper()
	return closing[*shared.Array[T]](t)(shared.CreateArray[T](d, name, shape, opt))
}

// hashOf is the hash of a descriptor, as docs/layout.md defines it.
func hashOf(desc string) uint64 {
	sum := sha256.Sum256([]byte(desc))
	return binary.LittleEndian.Uint64(sum[:])
}
