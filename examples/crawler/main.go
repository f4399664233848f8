// Crawler is a pipeline of processes that loses nothing when they are killed: fetchers take pages from a queue, the
// frontier, fetch them, put the links that nobody has found yet into the frontier, and what they got into a queue of results.
// The web that they crawl is 200 pages and a dead link, which the parent serves on the loopback interface. It kills with SIGKILL
// whoever makes the 25th, 50th … request, and in the end knows of every page all the same.
//
//	$ go run ./examples/crawler
//	request 25, for /22: kill -9 fetcher 3
//	fetcher 1 | fetches /22 once more
//	…
//	/gone: Not Found
//	…
//	8 times a fetcher was killed in the middle of a page
//	201 links found, 201 fetched, none lost
//
// What to look at:
//
//   - The frontier is a queue with Ack. A page is acknowledged when its links and its result are put. If its fetcher dies
//     before, the next one gets it: "at least once".
//   - A fetcher that finds a link notes it in a store with Create, which succeeds once, and then puts it into the frontier. A death
//     between the two would lose the page, were it not for what the note says: see found.
//   - So some of the work may be done twice after a death. Results are counted by page, not by number.
//   - The parent knows the end: every link in a result has a result.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/proc"
	"github.com/shiplap-ipc/shiplap/queue"
	"github.com/shiplap-ipc/shiplap/store"
)

const fetchers = 4

func main() {
	proc.Register("fetcher", fetcher)
	proc.Init() // does not return in a fetcher

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // a lost page would be waited for in vain
	defer cancel()
	d, err := shiplap.Join(fmt.Sprintf("example-crawler-%d", os.Getpid()), nil)
	if err != nil {
		return err
	}
	defer os.RemoveAll(d.Dir())
	defer d.Close()
	// Every page fits into the frontier. If fetchers had to wait for room there, all might do so, and nobody would make any.
	frontier, err := queue.Create[string](d, "frontier", &queue.Options{Ack: true, Ephemeral: true})
	if err != nil {
		return err
	}
	defer frontier.Close()
	results, err := queue.Create[page](d, "results", &queue.Options{Ephemeral: true})
	if err != nil {
		return err
	}
	defer results.Close()
	notes, err := store.Create(d, "notes", &store.Options{MaxBytes: 1 << 20, Ephemeral: true})
	if err != nil {
		return err
	}
	defer notes.Close()

	m, err := proc.New(d, &proc.Options{Output: os.Stdout})
	if err != nil {
		return err
	}
	defer m.Close()
	web := &site{kill: func(ctx context.Context, fetcher string) error {
		for {
			// If it was just restarted, the manager may not know yet that it runs.
			err := m.Signal(fetcher, syscall.SIGKILL)
			if !errors.Is(err, os.ErrProcessDone) {
				return err
			}
			select {
			case <-ctx.Done():
				return err
			case <-time.After(time.Millisecond):
			}
		}
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: web}
	defer server.Close()
	go server.Serve(l)

	for i := range fetchers {
		err := m.Add(proc.Spec{Name: fmt.Sprintf("fetcher %d", i+1), Func: "fetcher", Args: []string{"http://" + l.Addr().String()},
			Restart: proc.Always, Backoff: proc.Backoff{First: 10 * time.Millisecond, Factor: 1}})
		if err != nil {
			return err
		}
	}
	if err := m.StartAll(ctx); err != nil {
		return err
	}
	if err := found(ctx, notes, frontier, "/0", ""); err != nil {
		return err
	}
	known, fetched := map[string]bool{"/0": true}, map[string]bool{}
	for len(fetched) < len(known) {
		p, err := results.Get(ctx)
		if err != nil {
			return fmt.Errorf("%d of %d pages came, then: %w", len(fetched), len(known), err)
		}
		fetched[p.Path] = true
		if p.Status != http.StatusOK {
			fmt.Printf("%s: %s\n", p.Path, http.StatusText(p.Status))
		}
		for _, link := range p.Links {
			known[link] = true
		}
	}
	if err := m.StopAll(ctx); err != nil {
		return err
	}
	if len(fetched) != pages+1 {
		return fmt.Errorf("%d pages fetched of %d and one dead link", len(fetched), pages)
	}
	fmt.Printf("%d times a fetcher was killed in the middle of a page\n", web.deaths())
	fmt.Printf("%d links found, %d fetched, none lost\n", len(known), len(fetched))
	return nil
}
