package table

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var bg = context.Background()

// owners are fake processes: one view each; who is in the set of the dead is dead.
type owners struct {
	self uint32
	dead *sync.Map
}

func (o owners) Self() uint32                       { return o.self }
func (o owners) Dead(t uint32) bool                 { _, d := o.dead.Load(t); return d && t != o.self }
func (o owners) Watch(uint32, func()) (stop func()) { return func() {} }

// world is the memory of one table, the deaths in it, its clock, and how much memory the file system has.
type world struct {
	span  *mem.Span
	geo   Geometry
	dead  *sync.Map
	clock *atomic.Int64
	most  atomic.Int64 // bytes that can be set aside
}

func newWorld(g Geometry) *world {
	if g.Stripes == 0 {
		g.Stripes = 2
		if g.Evict {
			g.Stripes = 1
		}
	}
	if g.Log == 0 {
		g.Log = 64 * g.Stripes
	}
	if g.Locks == 0 {
		g.Locks = 4
	}
	g.Seed = [2]uint64{0x0706050403020100, 0x0f0e0d0c0b0a0908}
	if g.Size == 0 {
		g.Size = g.Least()
	}
	g.Size = (g.Size + PageSize - 1) / PageSize * PageSize
	if err := g.Check(); err != nil {
		panic(err)
	}
	w := &world{span: mem.NewHeap(mem.Part{Len: int(g.Size)}).Span(0), geo: g, dead: &sync.Map{}, clock: &atomic.Int64{}}
	w.clock.Store(1e18)
	w.most.Store(g.Size)
	Init(w.span, g, (g.heapAt()+PageSize-1)/PageSize*PageSize)
	return w
}

func (w *world) open(token uint32) *Table {
	return Open(Config{
		Span: w.span, Geo: w.geo, Owners: owners{token, w.dead}, Sess: &wait.Session{},
		Stop: func() error { return nil },
		Now:  w.clock.Load,
		Grow: func(off, n int64) error {
			if off+n > w.most.Load() {
				return errNoSpace
			}
			return nil
		},
	})
}

// clone is a copy of the memory: what others find if everybody died now.
func (w *world) clone() *world {
	c := newWorld(w.geo)
	copy(c.span.Bytes(0, c.span.Len()), w.span.Bytes(0, w.span.Len()))
	for t := uint32(2); t < 8; t++ {
		c.dead.Store(t, true)
	}
	c.clock.Store(w.clock.Load())
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v; %v is wanted", err, want)
	}
}
