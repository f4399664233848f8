package row

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// topicWorld is the memory of one topic and the deaths in it.
type topicWorld struct {
	ctl, area *mem.Span
	overwrite bool
	slots     int
	dead      *sync.Map
}

const (
	topicBase = 128
	table     = topicBase + ControlSize
)

func newTopicWorld(size int, overwrite bool, slots int) *topicWorld {
	r := mem.NewHeap(mem.Part{Len: table + slots*SlotSize}, mem.Part{Len: size})
	return &topicWorld{ctl: r.Span(0), area: r.Span(1), overwrite: overwrite, slots: slots, dead: &sync.Map{}}
}

func (w *topicWorld) open(token uint32) *Topic {
	return OpenTopic(Config{Ctl: w.ctl, Base: topicBase, Area: w.area, State: w.ctl.U32(0), Object: w.ctl.U32(0),
		Owners: owners{token, w.dead}, Sess: &wait.Session{}}, Slots{table, w.slots}, w.overwrite)
}

// clone is a copy of the memory: what others find if everybody died now.
func (w *topicWorld) clone() *topicWorld {
	c := newTopicWorld(w.area.Len(), w.overwrite, w.slots)
	copy(c.ctl.Bytes(0, c.ctl.Len()), w.ctl.Bytes(0, w.ctl.Len()))
	copy(c.area.Bytes(0, c.area.Len()), w.area.Bytes(0, w.area.Len()))
	return c
}

// msg is number i in n bytes, at least 8, every one of which depends on i.
func numbered(i, n int) []byte {
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
	if !bytes.Equal(b, numbered(i, len(b))) {
		return 0, fmt.Errorf("torn: message %d of %d bytes: %x", i, len(b), b)
	}
	return i, nil
}

func subscribe(t testing.TB, f *Topic, last uint64) *Subscriber {
	t.Helper()
	s, err := f.Subscribe(last)
	must(t, err)
	return s
}
