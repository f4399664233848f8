package store

import (
	"errors"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
)

// TestMain is victim, peer or test run; the latter must leave nothing behind.
func TestMain(m *testing.M) {
	killtest.RunVictim(scenarios()...)
	roles.Run(&shiplap.Options{NoSweep: true})
	leaktest.Main(m)
}

var bg = killtest.Background()

// roles of peers stand beside their tests.
var roles = peertest.Roles[int]{}

func ok(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v; %v is wanted", err, want)
	}
}

// domain joins a domain of the test's own.
func domain(t testing.TB) *shiplap.Domain {
	t.Helper()
	d, err := shiplap.Join(shortName(t), &shiplap.Options{NoSweep: true})
	ok(t, err)
	t.Cleanup(func() { ok(t, d.Close()) })
	return d
}

func shortName(t testing.TB) string {
	name := []rune(t.Name())
	for i, r := range name {
		if r == '/' {
			name[i] = '-'
		}
	}
	return string(name)
}

func create(t testing.TB, d *shiplap.Domain, opt *Options) *Store {
	t.Helper()
	if opt == nil {
		opt = &Options{}
	}
	opt.Ephemeral = true
	s, err := Create(d, "s", opt)
	ok(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}
