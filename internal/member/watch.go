package member

import (
	"sync"
)

// watches are the deaths that somebody in this process waits for: one descriptor and one parked
// goroutine a watched process, however many wait; none when nobody does.
type watches struct {
	mu     sync.Mutex
	m      map[uint32]*watch
	nextID int
}

type watch struct {
	fns   map[int]func()
	close func()
}

// Watch calls f once the owner of the token is dead. ok is false where the kernel cannot tell us:
// the process is in another pid namespace, or pidfd_open is missing. f may run until stop returns.
func (t *Table) Watch(token uint32, f func()) (stop func(), ok bool) {
	w := &t.watches
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.m[token]
	if one == nil {
		in, ok := t.Lookup(token)
		if !ok || token == t.token || in.PidNS != self().pidNS {
			return nil, false
		}
		one = &watch{fns: map[int]func(){}}
		one.close, ok = onExit(in.Pid, func() { w.fire(token, one) })
		if !ok {
			return nil, false
		}
		if w.m == nil {
			w.m = map[uint32]*watch{}
		}
		w.m[token] = one
	}
	w.nextID++
	id := w.nextID
	one.fns[id] = f
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(one.fns, id)
		if len(one.fns) == 0 && w.m[token] == one {
			delete(w.m, token)
			one.close()
		}
	}, true
}

func (w *watches) fire(token uint32, one *watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.m[token] == one {
		delete(w.m, token)
		one.close()
	}
	for _, f := range one.fns {
		f()
	}
}

func (w *watches) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.m {
		one.close()
	}
	w.m = nil
}
