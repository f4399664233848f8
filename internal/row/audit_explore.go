//go:build explore

package row

import (
	"fmt"
)

// Audit checks what the table in doc.go says of the hints, when nobody is inside any more. died says that somebody
// died: then those that lag may do so.

// auditProducers follows the records from a boundary to the tail, and checks the hints of the side that puts.
func (r *Row) auditProducers(from uint64, died bool) (boundaries map[uint64]bool, end, last uint64, err error) {
	boundaries = map[uint64]bool{from: true}
	for end = from; ; {
		h := r.word(end).Load()
		if h == 0 {
			break
		}
		size, err := r.parse(h)
		if err != nil {
			return nil, 0, 0, err
		}
		if end += size; end-from > r.size {
			return nil, 0, 0, fmt.Errorf("the records have no end")
		}
		boundaries[end], last = true, h
	}
	tail := r.tail.Load()
	switch {
	case before(end, tail):
		err = fmt.Errorf("tail %d is beyond the end %d", tail, end)
	case tail != end && !died:
		err = fmt.Errorf("tail %d lags behind %d although nobody died", tail, end)
	case !before(tail, from) && !boundaries[tail]:
		err = fmt.Errorf("tail %d is within a record", tail)
	case r.busy.Load() != 0 && !died:
		err = fmt.Errorf("busy although nobody died")
	case before(r.freed.Load(), r.seen.Load()):
		err = fmt.Errorf("seen %d was never taken, which is %d", r.seen.Load(), r.freed.Load())
	}
	return boundaries, end, last, err
}

// Audit checks the hints of a queue.
func (q *Queue) Audit(died bool) error {
	taken := q.taken.Load()
	_, end, last, err := q.auditProducers(taken, died)
	if err != nil {
		return err
	}
	if last != 0 { // else no header tells the number
		puts, first := q.puts.Load(), q.word(taken).Load()
		real := extend(puts, last)
		if puts > real || puts != real && !died {
			return fmt.Errorf("%d puts are counted, the last record is number %d", puts, real)
		}
		gets := q.gets.Load()
		if g := extend(gets+1, first) - 1; gets > g || gets != g && !died {
			return fmt.Errorf("%d gets are counted before record %d", gets, g+1)
		}
	}
	if !q.Ack() {
		return nil
	}
	return q.auditLeases(taken, end, died)
}

func (q *Queue) auditLeases(taken, end uint64, died bool) error {
	cursor := q.cursor.Load()
	if before(end, cursor) {
		return fmt.Errorf("cursor %d is beyond the end %d", cursor, end)
	}
	if before(cursor, taken) && !died {
		return fmt.Errorf("cursor %d lags behind taken %d although nobody died", cursor, taken)
	}
	for pos := taken; before(pos, cursor); {
		st := q.word(pos + wordSize).Load()
		if stateOf(st) == stateReady && countOf(st) == 0 {
			return fmt.Errorf("cursor %d is beyond %d, which was never handed out", cursor, pos)
		}
		if stateOf(st) == stateReady && q.again.Load() == 0 && !died {
			return fmt.Errorf("again is not set, beside a record at %d that was given back", pos)
		}
		size, err := q.parse(q.word(pos).Load())
		if err != nil {
			return err
		}
		pos += size
	}
	if leases, repeats := q.leases.Load(), q.repeats.Load(); repeats > leases {
		return fmt.Errorf("%d of %d deliveries were repeats", repeats, leases)
	}
	return nil
}

// Audit checks the hints of a topic.
func (t *Topic) Audit(died bool) error {
	floor, freed := t.floor.Load(), t.freed.Load()
	boundaries, end, _, err := t.auditProducers(floor, died)
	if err != nil {
		return err
	}
	if before(floor, freed) || before(t.tail.Load(), floor) || end+t.ahead-freed > t.size {
		return fmt.Errorf("freed %d, floor %d, tail %d, end %d are not in order", freed, floor, t.tail.Load(), end)
	}
	for b := range boundaries {
		if h := t.word(b).Load(); h != 0 && h&^(1<<32-1) != upper(t.number(b)) {
			return fmt.Errorf("the record at %d has header %#x and number %d", b, h, t.number(b))
		}
	}
	return t.auditSlots(freed, end, died)
}

func (t *Topic) auditSlots(freed, end uint64, died bool) error {
	used := t.used.Load()
	for i := range t.slots {
		token := t.slot32(i, slotToken).Load()
		if token != 0 && uint32(i) >= used {
			return fmt.Errorf("slot %d is taken, %d are said to have been used", i, used)
		}
		if token == 0 || died || t.overwrite {
			continue
		}
		cursor, number := t.slot64(i, slotCursor), t.slot64(i, slotNumber)
		if before(end, cursor.Load()) || before(cursor.Load(), freed) {
			return fmt.Errorf("slot %d reads at %d, outside of %d to %d", i, cursor.Load(), freed, end)
		}
		if n := t.number(cursor.Load()); n != number.Load() {
			return fmt.Errorf("slot %d says number %d, its next record is %d", i, number.Load(), n)
		}
	}
	return nil
}
