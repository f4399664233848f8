package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/store"
)

// storeUntil looks at a store again and again until something holds.
func (s *tool) storeUntil(what, name string, holds func(store.Stats) bool) {
	s.t.Helper()
	s.until(what, func(d *shiplap.Domain) bool {
		st, err := statsOf(d, name, func(d *shiplap.Domain, name string) (*store.Store, error) { return store.Open(d, name, nil) })
		return err == nil && holds(*st)
	})
}

// What one process sets, another that watches is told.
func TestStoreWatch(t *testing.T) {
	s := newTool(t)
	s.run("store", "create", "config")
	all := s.story("store", "watch", "config")
	s.storeUntil("it watches", "config", func(st store.Stats) bool { return st.Sleeps > 0 })
	some := s.story("store", "watch", "config", "user:*", "--json", "--count", "2")
	s.storeUntil("both watch", "config", func(st store.Stats) bool { return st.Sleeps > 1 })
	s.run("store", "set", "config", "color", "green")
	all.says("set\tcolor\tgreen")
	s.run("store", "set", "config", "user:a", "alice")
	all.says("set\tuser:a\talice")
	if line, err := some.out.ReadString('\n'); err != nil || !strings.HasPrefix(line, `{"event":"set","key":"user:a","value":"alice","format":"bytes","size":5,"revision":`) {
		t.Errorf("it says %q (%v)", line, err)
	}
	s.run("store", "del", "config", "user:a")
	all.says("del\tuser:a")
	if line, err := some.out.ReadString('\n'); err != nil || !strings.HasPrefix(line, `{"event":"del","key":"user:a"`) {
		t.Errorf("it says %q (%v)", line, err)
	}
	some.ends(exitOK)
	all.Process.Signal(unix.SIGINT)
	all.ends(exitSignalled + int(unix.SIGINT))

	last := s.story("store", "watch", "config", "--initial")
	last.says("set\tcolor\tgreen")
	s.run("rm", "config")
	last.ends(exitEnded)
	s.left()
}

// A writer that is killed again and again leaves a store that is whole and can be changed.
func TestStoreWriterKilled(t *testing.T) {
	const kills, block = 10, 500
	s := newTool(t)
	s.run("store", "create", "config", "--capacity", "16M")
	written := 0
	for range kills {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		p := s.start(r, nil, "store", "load", "config")
		r.Close()
		before := 0
		s.storeUntil("it writes", "config", func(st store.Stats) bool {
			if before == 0 {
				before = int(st.Sets) + 1
			}
			var b strings.Builder
			for range block {
				fmt.Fprintf(&b, "{\"key\":\"key %d\",\"value\":\"value %d\"}\n", written%1000, written)
				written++
			}
			if _, err := w.WriteString(b.String()); err != nil {
				t.Fatal(err)
			}
			return int(st.Sets) > before
		})
		p.Process.Kill()
		p.ends(-1)
		w.Close()
	}
	s.run("store", "set", "config", "alive", "yes")
	if got := s.run("store", "get", "config", "alive"); got != "yes\n" {
		t.Errorf("after %d kills: %q", kills, got)
	}
	d := s.domain()
	defer d.Close()
	st, err := store.Open(d, "config", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if err := st.Check(context.Background()); err != nil {
		t.Error(err)
	}
}

// Kill shiplap store lock in the middle: its command dies, and the next one gets the lock and is told.
func TestStoreLockKilled(t *testing.T) {
	s := newTool(t)
	s.run("store", "create", "jobs")
	lock := func(script string) *story {
		return s.story("store", "lock", "jobs", "17", "--", "sh", "-c", script)
	}
	victim := lock(echo)
	victim.says("ready")
	next := lock(`echo "damaged: $SHIPLAP_LOCK_DAMAGED"`)
	s.storeUntil("one waits", "jobs", func(st store.Stats) bool { return len(st.Locks) == 1 && len(st.Locks[0].Waiters) == 1 })
	if got := s.run("store", "stat", "jobs"); !strings.Contains(got, fmt.Sprintf("17 by pid %d; waiting: pid %d", victim.Process.Pid, next.Process.Pid)) {
		t.Errorf("it is shown as\n%s", got)
	}
	victim.Process.Kill()
	victim.ends(-1)
	victim.silent()
	next.says("damaged: 1")
	next.ends(exitOK)
	if !strings.Contains(next.stderr.String(), "owner died") {
		t.Errorf("the next one was told %q", next.stderr.String())
	}
	after := lock(`echo "damaged: $SHIPLAP_LOCK_DAMAGED"`)
	after.says("damaged: ")
	after.ends(exitOK)
	s.left("jobs")
}

// While it waits for the lock, or for its input, a signal ends it.
func TestStoreInterrupted(t *testing.T) {
	for _, args := range []string{"store lock jobs 17 -- echo no", "store watch jobs", "store load jobs", "store lock jobs 17 --timeout 1h -- echo no"} {
		t.Run(args, func(t *testing.T) {
			s := newTool(t)
			s.run("store", "create", "jobs")
			holder := s.in(&syscall.SysProcAttr{}, nil, "store", "lock", "jobs", "17", "--", "sh", "-c", echo)
			holder.says("ready")
			p := s.story(strings.Fields(args)...)
			s.joined(p.proc)
			p.Process.Signal(unix.SIGTERM)
			p.ends(exitSignalled + int(unix.SIGTERM))
			p.silent()
			holder.in.Close()
			holder.ends(exitOK)
			s.left("jobs")
		})
	}
}
