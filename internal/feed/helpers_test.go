package feed

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// owners are fake processes: one view each; who is in the set of the dead is dead.
type owners struct {
	self uint32
	dead *sync.Map
}

func (o owners) Self() uint32                       { return o.self }
func (o owners) Dead(t uint32) bool                 { _, d := o.dead.Load(t); return d && t != o.self }
func (o owners) Watch(uint32, func()) (stop func()) { return func() {} }

// world is the memory of one feed and the deaths in it.
type world struct {
	ctl, area *mem.Span
	overwrite bool
	slots     int
	dead      *sync.Map
}

const (
	base  = 128
	table = base + ControlSize
)

func newWorld(size int, overwrite bool, slots int) *world {
	r := mem.NewHeap(mem.Part{Len: table + slots*SlotSize}, mem.Part{Len: size})
	return &world{ctl: r.Span(0), area: r.Span(1), overwrite: overwrite, slots: slots, dead: &sync.Map{}}
}

func (w *world) open(token uint32) *Feed {
	return Open(Config{Ctl: w.ctl, Base: base, Table: table, Slots: w.slots, Area: w.area, State: w.ctl.U32(0), Overwrite: w.overwrite,
		Owners: owners{token, w.dead}, Sess: &wait.Session{}})
}

// clone is a copy of the memory: what others find if everybody died now.
func (w *world) clone() *world {
	c := newWorld(w.area.Len(), w.overwrite, w.slots)
	copy(c.ctl.Bytes(0, c.ctl.Len()), w.ctl.Bytes(0, w.ctl.Len()))
	copy(c.area.Bytes(0, c.area.Len()), w.area.Bytes(0, w.area.Len()))
	return c
}

// msg is number i in n bytes, at least 8, every one of which depends on i.
func msg(i, n int) []byte {
	b := make([]byte, n)
	binary.LittleEndian.PutUint64(b, uint64(i))
	for k := 8; k < n; k++ {
		b[k] = byte(i*31 + k*7)
	}
	return b
}

// number is the inverse; torn messages are errors.
func number(b []byte) (int, error) {
	if len(b) < 8 {
		return 0, fmt.Errorf("torn: a message of %d bytes", len(b))
	}
	i := int(binary.LittleEndian.Uint64(b))
	if !bytes.Equal(b, msg(i, len(b))) {
		return 0, fmt.Errorf("torn: message %d of %d bytes: %x", i, len(b), b)
	}
	return i, nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func subscribe(t testing.TB, f *Feed, last uint64) *Subscriber {
	t.Helper()
	s, err := f.Subscribe(last)
	must(t, err)
	return s
}

var bg = context.Background()
