package row

import (
	"context"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Seen is a record that was looked at.
type Seen struct {
	Body   []byte // a copy
	Block  []byte // of its envelope, a copy, empty if it has none
	Count  int    // with acknowledgement: how often it was handed out
	Holder uint32 // with acknowledgement: the token of the process that has it, 0 if none has
}

// Browse copies the first records that are neither taken nor acknowledged, and takes none.
func (q *Queue) Browse(ctx context.Context, most int) ([]Seen, error) {
	if err := q.check(false); err != nil || q.Empty() { // the lock of a queue that is drained is not to be had
		return nil, err
	}
	if _, err := q.ConsumerLock.Lock(ctx); err != nil {
		if err == errs.ErrClosed {
			err = nil
		}
		return nil, err
	}
	defer q.unlockBrowsed()
	return q.browse(most)
}

func (q *Queue) unlockBrowsed() {
	if q.Ack() {
		q.unlockConsumer()
	} else {
		q.ConsumerLock.Unlock()
	}
}

func (q *Queue) browse(most int) (all []Seen, err error) {
	from := q.taken.Load()
	if err := q.span(from, from); err != nil {
		return nil, err
	}
	for pos := from; len(all) < most; {
		h := q.word(pos).Load()
		if h == 0 {
			break
		}
		size, err := q.parse(h)
		if err != nil {
			return all, err
		}
		if pos+size-from > q.size {
			return all, fmt.Errorf("%w: the records of the queue have no end", errs.ErrCorrupt)
		}
		s := Seen{}
		if q.Ack() {
			st := q.word(pos + wordSize).Load()
			if stateOf(st) == stateDone {
				pos += size
				continue
			}
			s.Count, s.Holder = int(countOf(st)), holderOf(st)
		}
		rec, err := q.parts(pos, h)
		if err != nil {
			return all, err
		}
		s.Body = append([]byte{}, q.body(pos, rec)...)
		q.copyBlock(&s.Block, pos, rec)
		all = append(all, s)
		pos += size
	}
	return all, nil
}
