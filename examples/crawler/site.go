package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
)

const (
	pages = 200
	every = 25 // which request is the last one of its fetcher
)

// site is a web of pages that link to each other, /0 to /199, and one of them to /gone, which does not exist.
type site struct {
	kill func(ctx context.Context, fetcher string) error

	mu               sync.Mutex
	requests, killed int
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.kills(r.Context(), r.UserAgent(), r.URL.Path) {
		<-r.Context().Done() // it does not live to see the page
		return
	}
	n, err := strconv.Atoi(r.URL.Path[1:])
	if err != nil || n < 0 || n >= pages {
		http.NotFound(w, r)
		return
	}
	for _, to := range []int{2*n + 1, 2*n + 2, n / 3, (7*n + 1) % pages} {
		if to < pages {
			fmt.Fprintf(w, "<a href=\"/%d\">page %d</a>\n", to, to)
		}
	}
	if n == 99 {
		fmt.Fprintln(w, `<a href="/gone">a page that was here once</a>`)
	}
}

// kills kills the fetcher if it is time for that.
func (s *site) kills(ctx context.Context, fetcher, path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if s.requests < every*(s.killed+1) || s.kill(ctx, fetcher) != nil {
		return false
	}
	s.killed++
	fmt.Printf("request %d, for %s: kill -9 %s\n", s.requests, path, fetcher)
	return true
}

func (s *site) deaths() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.killed
}
