package pymp

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// listLayout says where the parts of a ShareableList lie. It is a private copy, read and checked
// once: what a peer writes later cannot move anything.
//
// From Python 3.9 on: i64 N; i64 offs[N+1], relative to the data, offs[0] = 0; data; N formats of 8
// bytes; N codes of one. Python 3.8 has i64 sizes[N], of the slots, instead of the offsets. As no
// size is 0 the two can be told apart.
type listLayout struct {
	old     bool  // of Python 3.8
	offs    []int // N+1, from the beginning of the memory
	formats int
	codes   int
	size    int
}

func (l *listLayout) len() int { return len(l.offs) - 1 }

func (l *listLayout) slot(i int) int { return l.offs[i+1] - l.offs[i] }

// newListLayout is the layout for slots of these sizes.
func newListLayout(slots []int, old bool) *listLayout {
	n := len(slots)
	l := &listLayout{old: old, offs: make([]int, n+1)}
	l.offs[0] = 8 * (n + 2)
	if old {
		l.offs[0] = 8 * (n + 1)
	}
	for i, s := range slots {
		l.offs[i+1] = l.offs[i] + s
	}
	l.place()
	return l
}

func (l *listLayout) place() {
	l.formats = l.offs[l.len()]
	l.codes = l.formats + 8*l.len()
	l.size = l.codes + l.len()
}

// write puts the head into fresh memory.
func (l *listLayout) write(b []byte) {
	le := binary.LittleEndian
	defer le.PutUint64(b, uint64(l.len())) // last: before that it is an empty list
	for i, off := range l.offs {
		switch {
		case !l.old:
			le.PutUint64(b[8*(i+1):], uint64(off-l.offs[0]))
		case i > 0: // after the count, which stands at 0
			le.PutUint64(b[8*i:], uint64(off-l.offs[i-1]))
		}
	}
}

func notAList(format string, args ...any) error {
	return fmt.Errorf("%w: no ShareableList: "+format, append([]any{errs.ErrCorrupt}, args...)...)
}

// perItem is the least that an item takes: offset, slot, format and code.
const perItem = 8 + 8 + 8 + 1

// readListLayout reads the head of a list that somebody else has made.
func readListLayout(b []byte) (*listLayout, error) {
	le := binary.LittleEndian
	if len(b) < 8 {
		return nil, notAList("it has %d bytes", len(b))
	}
	word := func(i int) uint64 { return le.Uint64(b[8*i:]) }
	count := word(0)
	if count == 0 {
		return newListLayout(nil, len(b) < 16), nil
	}
	if count > uint64(len(b)-8)/perItem {
		return nil, notAList("%d bytes cannot hold %d items", len(b), int64(count))
	}
	n := int(count)
	l := &listLayout{offs: make([]int, n+1)}
	first := word(1)
	if l.old = first != 0; l.old {
		l.offs[0] = 8 * (n + 1)
	} else {
		l.offs[0] = 8 * (n + 2)
	}
	for i := range n {
		var end uint64 // from the beginning of the data
		switch at := uint64(l.offs[i] - l.offs[0]); {
		case !l.old:
			end = word(i + 2)
		case i == 0:
			end = first // loaded once
		default:
			end = at + word(i+1)
			if end < at {
				end = math.MaxUint64
			}
		}
		if end > uint64(len(b)) || int(end)+l.offs[0] < l.offs[i]+8 || end%8 != 0 {
			return nil, notAList("the slot of item %d reaches from %d to %d, of %d bytes", i, l.offs[i]-l.offs[0], int64(end), len(b))
		}
		l.offs[i+1] = l.offs[0] + int(end)
	}
	if l.place(); l.size > len(b) {
		return nil, notAList("%d items with %d bytes of data need %d bytes, there are %d", n, l.offs[n]-l.offs[0], l.size, len(b))
	}
	return l, nil
}
