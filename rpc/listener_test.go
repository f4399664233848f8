package rpc_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/rpc"
)

const listenerArea = 8192 // where the ring of a listener begins (layout, section 12)

// damage overwrites the ring of the listener called name.
func damage(t testing.TB, d *shiplap.Domain, name string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(d.Dir(), name), os.O_WRONLY, 0)
	ok(t, err)
	defer f.Close()
	_, err = f.WriteAt(bytes.Repeat([]byte{0x08, 0x10, 0, 0, 0, 0, 0, 0}, 512), listenerArea) // no headers
	ok(t, err)
}

// A service whose listener is damaged or removed says so once, and closes; another one may take its place.
func TestListenerLost(t *testing.T) {
	for what, tt := range map[string]struct {
		harm func(*testing.T, *shiplap.Domain)
		want error
	}{
		"damaged": {func(t *testing.T, d *shiplap.Domain) {
			damage(t, d, "rpc:s")
			if _, err := rpc.Dial(soon(t), d, "s", nil); err != nil { // it wakes the service
				is(t, "dial", err, shiplap.ErrCorrupt)
			}
		}, shiplap.ErrCorrupt},
		"removed": {func(t *testing.T, d *shiplap.Domain) { ok(t, d.Remove(bg, "rpc:s")) }, shiplap.ErrRemoved},
	} {
		t.Run(what, func(t *testing.T) {
			d := domain(t)
			s, v := serve(t, d, nil)
			c := dial(t, d)
			call[pair, int64](t, c, "add", pair{1, 2})
			ok(t, s.Err())
			tt.harm(t, d)
			select {
			case <-s.Done():
			case <-soon(t).Done():
				t.Fatal("the service goes on")
			}
			is(t, "the service", s.Err(), tt.want)
			_, err := rpc.Call[pair, int64](soon(t), c, "add", pair{1, 2})
			is(t, "its client", err, shiplap.ErrPeerGone)
			is(t, "close", s.Close(), shiplap.ErrClosed)
			if n := strings.Count(v.log.String(), "\n"); n != 1 {
				t.Errorf("it logged %d lines: %s", n, v.log.String())
			}
			serve(t, d, nil)
			call[pair, int64](t, dial(t, d), "add", pair{1, 2})
		})
	}
}

func TestErr(t *testing.T) {
	d := domain(t)
	s, _ := serve(t, d, nil)
	ok(t, s.Err())
	ok(t, s.Close())
	<-s.Done()
	is(t, "closed", s.Err(), shiplap.ErrClosed)
}
