package row

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// owners are fake processes: one view each; who is in the set of the dead is dead.
type owners struct {
	self uint32
	dead *sync.Map // func() instead of true: the one dies when it is asked about, and does that before
}

func (o owners) Self() uint32                       { return o.self }
func (o owners) Watch(uint32, func()) (stop func()) { return func() {} }

func (o owners) Dead(t uint32) bool {
	if t == o.self {
		return false
	}
	d, dead := o.dead.Load(t)
	if last, is := d.(func()); is {
		last()
		o.dead.Store(t, true)
	}
	return dead
}

// world is the memory of one queue and the deaths in it.
type world struct {
	ctl, area *mem.Span
	ack       bool
	dead      *sync.Map
	state     *mem.U32
}

const base = 64

func newWorld(size int, ack bool) *world {
	r := mem.NewHeap(mem.Part{Len: base + ControlSize}, mem.Part{Len: size})
	return &world{ctl: r.Span(0), area: r.Span(1), ack: ack, dead: &sync.Map{}, state: r.Span(0).U32(0)}
}

func (w *world) config(token uint32) Config {
	return Config{Ctl: w.ctl, Base: base, Area: w.area, State: w.state, Object: w.state,
		Owners: owners{token, w.dead}, Sess: &wait.Session{}}
}

func (w *world) open(token uint32) *Queue { return OpenQueue(w.config(token), w.ack) }

// clone is a copy of the memory: what others find if everybody died now.
func (w *world) clone() *world {
	c := newWorld(w.area.Len(), w.ack)
	copy(c.ctl.Bytes(0, c.ctl.Len()), w.ctl.Bytes(0, w.ctl.Len()))
	copy(c.area.Bytes(0, c.area.Len()), w.area.Bytes(0, w.area.Len()))
	return c
}

func msg(i, n int) []byte { return bytes.Repeat([]byte{byte(i), byte(i >> 8), 0x5a}, n/3+1)[:n] }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var bg = context.Background()

// advance moves an empty queue on by n bytes, a multiple of 8 of at least 8.
func advance(t testing.TB, r *Queue, n int) {
	t.Helper()
	for n > 0 {
		k := min(n, 1024)
		if n-k < int(r.head) && n-k > 0 {
			k -= 16
		}
		must(t, r.Put(bg, make([]byte, k-int(r.head))))
		if r.Ack() {
			ls, err := r.TryLease()
			must(t, err)
			must(t, r.Settle(ls, true))
		} else {
			_, err := r.Get(bg, nil)
			must(t, err)
		}
		n -= k
	}
}
