package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shiplap-ipc/shiplap"
	procs "github.com/shiplap-ipc/shiplap/proc"
)

// theFile is the set of the file that is run; processes have no such name.
const theFile = "/"

// watched is what the watcher is to watch.
func (r *runner) watched() map[string][]string {
	sets := map[string][]string{theFile: {r.opt.path}}
	if abs, err := filepath.Abs(r.opt.path); err == nil {
		sets[theFile] = []string{abs}
	}
	for _, p := range r.file.procs {
		if len(p.watch) > 0 {
			sets[p.spec.Name] = p.watch
		}
	}
	return sets
}

// changed does what changes of files ask for.
func (r *runner) changed(names []string, w *watcher) {
	if i := slices.Index(names, theFile); i >= 0 {
		names = slices.Delete(slices.Clone(names), i, i+1)
		if r.reload() {
			w.watch(r.watched())
		}
	}
	var running []string
	for _, name := range names {
		if s, err := r.m.State(name); err == nil && (s.Phase != procs.Stopped || s.Last == nil && !r.isManual(name)) { // not what somebody stopped
			running = append(running, name)
		}
	}
	if len(running) > 0 {
		r.out.note("shiplap", "files changed: restarting "+strings.Join(running, ", "))
		r.background(func() error { return r.m.Restart(context.Background(), running...) })
	}
}

func (r *runner) isManual(name string) bool {
	return slices.ContainsFunc(r.file.procs, func(p runProc) bool { return p.spec.Name == name && p.manual })
}

// reload reads the file again, and has the manager do what differs. If the file is wrong, all goes on as it is.
func (r *runner) reload() bool {
	file, err := readRunFile(r.opt.path, nil)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			r.out.note("shiplap", strings.TrimSpace(line))
		}
		r.out.note("shiplap", "the file is wrong: all goes on as it was")
		return false
	}
	if r.opt.name == "" && file.name != r.file.name || file.domain != r.file.domain {
		r.out.note("shiplap", "name and domain stay what they were until it is run again")
	}
	file.name, file.domain = r.file.name, r.file.domain
	c := compare(r.file.procs, file.procs)
	if c.none() {
		r.file = file // lines may have moved
		return true
	}
	r.out.note("shiplap", "the file changed: "+c.String())
	r.file = file
	r.out.align(r.names(func(runProc) bool { return true }))
	before := r.applied
	after := make(chan struct{})
	r.applied = after
	r.background(func() error {
		defer close(after)
		if before != nil {
			<-before
		}
		return r.apply(file.path, c)
	})
	return true
}

// change is what differs between two files.
type change struct {
	removed        []string
	changed, added []runProc
}

func compare(before, after []runProc) (c change) {
	find := func(all []runProc, name string) (runProc, bool) {
		i := slices.IndexFunc(all, func(p runProc) bool { return p.spec.Name == name })
		if i < 0 {
			return runProc{}, false
		}
		return all[i], true
	}
	for _, p := range before {
		if _, ok := find(after, p.spec.Name); !ok {
			c.removed = append(c.removed, p.spec.Name)
		}
	}
	for _, p := range after {
		if was, ok := find(before, p.spec.Name); !ok {
			c.added = append(c.added, p)
		} else if !was.same(p) {
			c.changed = append(c.changed, p)
		}
	}
	return c
}

func (c change) none() bool { return len(c.removed)+len(c.changed)+len(c.added) == 0 }

func (c change) String() string {
	var parts []string
	part := func(what string, names []string) {
		if len(names) > 0 {
			parts = append(parts, what+" "+strings.Join(names, ", "))
		}
	}
	part("removed", c.removed)
	part("changed", namesOf(c.changed))
	part("new", namesOf(c.added))
	return strings.Join(parts, "; ")
}

func namesOf(all []runProc) (names []string) {
	for _, p := range all {
		names = append(names, p.spec.Name)
	}
	return names
}

// apply makes the manager's processes those of the file: what was removed or changed is stopped, in the order of any stop; what changed, or is new,
// is started, unless somebody had stopped it.
func (r *runner) apply(path string, c change) error {
	ctx := context.Background()
	var start []string
	for _, p := range c.changed {
		s, err := r.m.State(p.spec.Name)
		if err == nil && (s.Phase != procs.Stopped || s.Last == nil) && !p.manual || s.Pid != 0 {
			start = append(start, p.spec.Name)
		}
	}
	old := append(slices.Clone(c.removed), namesOf(c.changed)...)
	if len(old) > 0 {
		if err := r.m.Stop(ctx, old...); err != nil {
			return err
		}
	}
	for _, name := range old {
		err := r.m.Remove(name)
		for errors.Is(err, shiplap.ErrBusy) { // started again meanwhile
			if err = r.m.Stop(ctx, name); err == nil {
				err = r.m.Remove(name)
			}
		}
		if err != nil {
			return err
		}
	}
	var failed error
	for _, p := range slices.Concat(c.changed, c.added) {
		failed = errors.Join(failed, r.add(path, p))
	}
	for _, p := range c.added {
		if !p.manual {
			start = append(start, p.spec.Name)
		}
	}
	if len(start) > 0 {
		r.background(func() error { return r.m.Start(ctx, start...) })
	}
	return failed
}
