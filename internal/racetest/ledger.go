package racetest

import (
	"fmt"
	"os"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// The ledger's shape. Each hired process has a row and, for each program that it becomes by exec,
// slots of its own: the slots of the dead go on saying what they did when they died.
const (
	maxHires = 1 << 10
	maxExecs = 4 // programs that a process becomes, one after the other
	maxHands = 8 // goroutines that take turns at a time
	maxMarks = 64
	maxCells = 1 << 20

	offMarks = 512
	offHires = 4096
	hireSize = 64
	offSlots = offHires + maxHires*hireSize
	slotSize = 64
	offCells = offSlots + maxHires*maxExecs*maxHands*slotSize
	sizeOf   = offCells + maxCells*8
)

// ledger is what the judge believes: a mapped plain file.
type ledger struct {
	span   *mem.Span
	region *mem.Region

	stop  *mem.U64 // not 0: no more cycles
	epoch *mem.U64 // how often the object, or the directory, was taken away
	grace *mem.U64 // until when two objects of the same name may be in use: nanoseconds
	cells *mem.U64 // how many cells are in use
	hired *mem.U64 // how many processes there were
	words [8]*mem.U64
}

func createLedger(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Truncate(sizeOf)
}

func openLedger(path string) (*ledger, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the mapping stays
	r, err := mem.Map(int(f.Fd()), mem.Part{Len: sizeOf})
	if err != nil {
		return nil, err
	}
	l := &ledger{span: r.Span(0), region: r}
	l.stop, l.epoch, l.grace, l.cells = l.span.U64(0), l.span.U64(64), l.span.U64(128), l.span.U64(192)
	l.hired = l.span.U64(200)
	for i := range l.words {
		l.words[i] = l.span.U64(256 + 8*i)
	}
	return l, nil
}

func (l *ledger) close() error { return l.region.Unmap() }

// mark is a word that says who is inside of something: a name, or 0.
func (l *ledger) mark(i int) *mem.U64 { return l.span.U64(offMarks + 8*i) }

// cell is what is known of one message.
func (l *ledger) cell(i int) *mem.U64 { return l.span.U64(offCells + 8*i) }

// newCell takes a cell; it is false when there are no more.
func (l *ledger) newCell() (i int, there bool) {
	if l.cells.Load() >= maxCells {
		return 0, false
	}
	i = int(l.cells.Add(1)) - 1
	return i, i < maxCells
}

// row is what is known of one hired process.
type row struct {
	condemned *mem.U64 // it was killed, or is about to be
	execs     *mem.U64 // how often it called exec, or is about to
	cycles    *mem.U64
}

func (l *ledger) row(hire int) row {
	at := offHires + hire*hireSize
	return row{l.span.U64(at), l.span.U64(at + 8), l.span.U64(at + 16)}
}

// slot is what one goroutine of a worker does.
type slot struct {
	op    *mem.U64 // 0: nothing
	since *mem.U64 // from when on it is late, in nanoseconds; its bound comes on top
	turns *mem.U64
	inUse *mem.U64 // what the scene wants to know of it
}

func (l *ledger) slot(hire, exec, hand int) slot {
	at := offSlots + ((hire*maxExecs+exec)*maxHands+hand)*slotSize
	return slot{l.span.U64(at), l.span.U64(at + 8), l.span.U64(at + 16), l.span.U64(at + 24)}
}

// name is the name of a goroutine in one turn: what stands in marks. It is never 0.
type name uint64

func nameOf(hire, exec, hand int, epoch, turn uint64) name {
	return name(uint64(hire+1)<<48 | uint64(exec)<<44 | uint64(hand)<<40 | epoch&0xff<<32 | turn&0xffffffff)
}

func (n name) hire() int     { return int(n>>48) - 1 }
func (n name) exec() int     { return int(n >> 44 & 0xf) }
func (n name) hand() int     { return int(n >> 40 & 0xf) }
func (n name) epoch() uint64 { return uint64(n >> 32 & 0xff) }

func (n name) String() string {
	if n == 0 {
		return "nobody"
	}
	return fmt.Sprintf("process %d.%d goroutine %d turn %d", n.hire(), n.exec(), n.hand(), uint32(n))
}

// dead reports whether the process of that name was killed or called exec, or is about to: then it
// may be dead.
func (l *ledger) dead(n name) bool {
	r := l.row(n.hire())
	return r.condemned.Load() != 0 || int(r.execs.Load()) > n.exec()
}

// excused reports whether two objects of one name may be in use at this moment, because one was
// just taken away.
func (l *ledger) excused() bool { return uint64(time.Now().UnixNano()) < l.grace.Load() }

func now() uint64 { return uint64(time.Now().UnixNano()) }
