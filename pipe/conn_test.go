package pipe_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/pipe"
)

var names atomic.Int64

func domain(t testing.TB) *shiplap.Domain {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "shiplap-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d, err := shiplap.Join("t", &shiplap.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		left, _ := filepath.Glob(filepath.Join(d.Dir(), "*"))
		for _, f := range left {
			if filepath.Base(f) != "#members" {
				t.Errorf("left behind: %s", f)
			}
		}
	})
	return d
}

func pair(t testing.TB, d *shiplap.Domain, opt *pipe.Options) (a, b *pipe.End) {
	t.Helper()
	name := fmt.Sprintf("p%d", names.Add(1))
	a, err := pipe.Create(d, name, opt)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = pipe.Open(d, name, opt); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestConformance(t *testing.T) {
	d := domain(t)
	for _, size := range []int64{4096, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				a, b := pair(t, d, &pipe.Options{Capacity: size})
				return a.Conn(), b.Conn(), func() { a.Close(); b.Close() }, nil
			})
		})
	}
}

func TestHTTP(t *testing.T) {
	d := domain(t)
	l, err := pipe.Listen(d, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.URL.Path, strings.ToUpper(string(body)))
	})}
	served := make(chan error)
	go func() { served <- srv.Serve(l) }()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		e, err := pipe.Dial(ctx, d, "web", nil)
		if err != nil {
			return nil, err
		}
		return e.Conn(), nil
	}}
	for i := range 50 {
		res, err := (&http.Client{Transport: tr}).Post("http://web/x", "text/plain", strings.NewReader(strings.Repeat("a", 10000*i)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if want := "/x " + strings.Repeat("A", 10000*i); err != nil || string(b) != want {
			t.Fatalf("got %d bytes, %v; want %d", len(b), err, len(want))
		}
	}
	tr.CloseIdleConnections()
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != http.ErrServerClosed {
		t.Error(err)
	}
}
