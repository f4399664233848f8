package topic_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/topic"
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

// raw makes a topic called "t" in a domain of its own.
func raw(t testing.TB, opt *topic.Options) (*shiplap.Domain, *topic.Raw) {
	t.Helper()
	d := domain(t)
	return d, closing[*topic.Raw](t)(topic.CreateRaw(d, "t", opt))
}

func subscribe(t testing.TB, r *topic.Raw, last int) *topic.RawSubscription {
	t.Helper()
	return closing[*topic.RawSubscription](t)(r.Subscribe(&topic.SubOptions{Last: last}))
}

// message is number i in n bytes, at least 8, every one of which depends on i.
func message(i, n int) []byte {
	b := make([]byte, n)
	binary.LittleEndian.PutUint64(b, uint64(i))
	for k := 8; k < n; k++ {
		b[k] = byte(i*31 + k*7)
	}
	return b
}

// number is the inverse; torn messages are errors.
func number(b []byte) (int, error) {
	if len(b) < 8 {
		return 0, fmt.Errorf("torn: a message of %d bytes", len(b))
	}
	i := int(binary.LittleEndian.Uint64(b))
	if !bytes.Equal(b, message(i, len(b))) {
		return 0, fmt.Errorf("torn: message %d of %d bytes: %x", i, len(b), b)
	}
	return i, nil
}

func eventually(f func() bool) bool {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Microsecond) {
		if f() {
			return true
		}
	}
	return f()
}
