package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/proc"
	"github.com/shiplap-ipc/shiplap/queue"
	"github.com/shiplap-ipc/shiplap/store"
)

// page is what became of a page.
type page struct {
	Path   string
	Status int // of HTTP
	Links  []string
}

const done = "done" // the note of a page that was fetched

// fetcher is a process that fetches pages of the site that is its argument.
func fetcher(ctx context.Context, self *proc.Child) error {
	frontier, err := queue.Open[string](self.Domain(), "frontier", nil)
	if err != nil {
		return err
	}
	defer frontier.Close()
	results, err := queue.Open[page](self.Domain(), "results", nil)
	if err != nil {
		return err
	}
	defer results.Close()
	notes, err := store.Open(self.Domain(), "notes", nil)
	if err != nil {
		return err
	}
	defer notes.Close()

	for job, err := range frontier.Deliveries(ctx) {
		if err != nil {
			return err
		}
		path := job.Value
		note, err := notes.Get(path)
		if err != nil {
			return err
		}
		if string(note) != done {
			if job.Count > 1 {
				fmt.Printf("fetches %s once more\n", path)
			}
			p, err := fetch(ctx, self, path)
			if err != nil {
				return err // another one gets the page
			}
			for _, link := range p.Links {
				if err := found(ctx, notes, frontier, link, path); err != nil {
					return err
				}
			}
			if err := results.Put(ctx, p); err != nil {
				return err
			}
			if _, err := notes.Set(ctx, path, []byte(done)); err != nil {
				return err
			}
		}
		if err := job.Ack(); err != nil {
			return err
		}
	}
	return nil
}

// found puts a link of a page into the frontier, if it was not found before. It notes first on which page that was: if
// its process dies before the link is put, the page is fetched once more, and whoever does that sees in the note that it is up to
// him to put the link, perhaps again.
func found(ctx context.Context, notes *store.Store, frontier *queue.Queue[string], link, on string) error {
	_, err := notes.Create(ctx, link, []byte(on))
	if errors.Is(err, shiplap.ErrExist) {
		note, err := notes.Get(link)
		if err != nil || string(note) != on {
			return err // it was found on another page, or is done
		}
	} else if err != nil {
		return err
	}
	between()
	return frontier.Put(ctx, link)
}

// between is where a test kills the process.
var between = func() {}

var href = regexp.MustCompile(`href="([^"]*)"`)

func fetch(ctx context.Context, self *proc.Child, path string) (page, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, self.Args()[0]+path, nil)
	if err != nil {
		return page{}, err
	}
	r.Header.Set("User-Agent", self.Name())
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return page{}, err
	}
	p := page{Path: path, Status: resp.StatusCode}
	for _, m := range href.FindAllSubmatch(body, -1) {
		if link := string(m[1]); !slices.Contains(p.Links, link) {
			p.Links = append(p.Links, link)
		}
	}
	return p, nil
}
