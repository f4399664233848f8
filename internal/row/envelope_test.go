package row

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/envelope"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// block is the envelope of message i; every third has none.
func block(t testing.TB, i int) []byte {
	t.Helper()
	if i%3 == 2 {
		return nil
	}
	b, err := envelope.Append(nil, map[string][]byte{"n": fmt.Append(nil, i), "key": bytes.Repeat([]byte{byte(i)}, i%50)})
	must(t, err)
	return b
}

// wanted checks message i.
func wanted(t testing.TB, i, n int, b, got []byte) {
	t.Helper()
	if !bytes.Equal(b, msg(i, n)) {
		t.Fatalf("message %d: %d bytes, %d were put", i, len(b), n)
	}
	if want := block(t, i); !bytes.Equal(got, want) {
		t.Fatalf("message %d: an envelope %q, put was %q", i, got, want)
	}
}

// TestEnvelopes puts and takes messages with and without envelopes in each way there is, round the end of the
// area.
func TestEnvelopes(t *testing.T) {
	for _, ack := range []bool{false, true} {
		w := newWorld(MinArea, ack)
		r := w.open(1)
		for i := range 500 {
			n := i * 7 % 300
			if i%4 < 2 {
				must(t, r.PutWith(bg, block(t, i), msg(i, n)))
			} else {
				must(t, r.TryPutWith(block(t, i), msg(i, n)))
			}
			if seen, err := r.Browse(bg, 9); err != nil || len(seen) != 1 {
				t.Fatal(seen, err)
			} else {
				wanted(t, i, n, seen[0].Body, seen[0].Block)
			}
			var b, env []byte
			var err error
			if ack {
				var ls Lease
				ls, err = r.TryLease()
				must(t, err)
				b = bytes.Clone(r.Body(ls))
				r.Block(ls, &env)
				err = r.Settle(ls, true)
			} else if i%2 == 0 {
				b, err = r.TryGetWith(nil, &env)
			} else {
				b, err = r.GetWith(bg, nil, &env)
			}
			must(t, err)
			wanted(t, i, n, b, env)
		}
	}
}

// TestEnvelopeInTheWay checks that those who do not ask for envelopes get the bodies.
func TestEnvelopeInTheWay(t *testing.T) {
	w := newWorld(MinArea, false)
	r := w.open(1)
	var p Producer
	must(t, r.ProducerLock.LockLong(bg, func() error { return p.Resume(&r.Row) }))
	var c Consumer
	must(t, r.ConsumerLock.LockLong(bg, func() error { return c.Resume(r) }))
	var env []byte
	for i := range 300 {
		n := i * 7 % 300
		if i%7 < 4 {
			must(t, p.PutWith(bg, block(t, i), msg(i, n)))
		} else {
			must(t, p.TryPutWith(block(t, i), msg(i, n)))
		}
		var b []byte
		var err error
		switch i % 6 {
		case 0:
			b, err = c.Get(bg, nil)
		case 1:
			b, err = c.TryGet(nil)
		case 2:
			_, err = c.TakeMany(1, func(got []byte) error { b = bytes.Clone(got); return nil })
		case 3:
			b, err = c.Peek(bg)
			b = bytes.Clone(b)
			c.Commit()
		case 4:
			if b, err = c.GetWith(bg, nil, &env); err == nil {
				wanted(t, i, n, b, env)
			}
		case 5:
			if b, err = c.TryGetWith(nil, &env); err == nil {
				wanted(t, i, n, b, env)
			}
		}
		must(t, err)
		if !bytes.Equal(b, msg(i, n)) {
			t.Fatalf("message %d, way %d: %d bytes, %d were put", i, i%6, len(b), n)
		}
	}
	must(t, r.check(false))
}

// TestEnvelopeInAStream checks that a stream of bytes consists of the bodies, also of half records.
func TestEnvelopeInAStream(t *testing.T) {
	w := newWorld(MinArea, false)
	r := w.open(1)
	var sent, got []byte
	for i := range 8 {
		must(t, r.PutWith(bg, block(t, i), msg(i, 100)))
		sent = append(sent, msg(i, 100)...)
	}
	for len(got) < len(sent) {
		var c Consumer // each time anew: partial counts bytes of the body
		must(t, c.Resume(r))
		b := make([]byte, 37)
		n, err := c.Read(b)
		must(t, err)
		got = append(got, b[:n]...)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%x\nwas sent, received was\n%x", sent, got)
	}
}

func TestEnvelopeLimits(t *testing.T) {
	for _, ack := range []bool{false, true} {
		w := newWorld(MinArea, ack)
		r := w.open(1)
		env := block(t, 1)
		most := r.MaxPayload() - len(env)
		if err := r.PutWith(bg, env, make([]byte, most+1)); !errors.Is(err, errs.ErrTooLarge) {
			t.Errorf("one byte too many: %v", err)
		}
		must(t, r.PutWith(bg, env, msg(1, most)))
		r = w.open(2)
		r.Accept(r.MaxPayload() - 1)
		get := func() error {
			if ack {
				_, err := r.TryLease()
				return err
			}
			_, err := r.TryGet(nil)
			return err
		}
		if err := get(); !errors.Is(err, errs.ErrTooLarge) {
			t.Errorf("a view that accepts one byte less: %v", err)
		}
		r = w.open(3)
		if err := get(); err != nil {
			t.Error(err)
		}
	}
}

// TestEnvelopeMoves checks that a record that is moved keeps its envelope.
func TestEnvelopeMoves(t *testing.T) {
	source, target := movable(1), movable(2)
	from, to := source.open(1), target.open(1)
	for i := range 30 {
		must(t, from.PutWith(bg, block(t, i), msg(i, 50)))
		ls, err := from.TryLease()
		must(t, err)
		must(t, from.MoveLease(bg, ls, Target{Queue: to, Name: "target"}))
		ls, err = to.TryLease()
		must(t, err)
		var env []byte
		to.Block(ls, &env)
		wanted(t, i, 50, to.Body(ls), env)
		must(t, to.Settle(ls, true))
	}
}

// movableWorld is a queue whose records can be moved.
type movableWorld struct {
	*world
	moves *mem.Span
	id    uint64
}

func movable(id uint64) *movableWorld {
	moves := mem.NewHeap(mem.Part{Len: Moves*MoveSize + NameSize}).Span(0)
	return &movableWorld{newWorld(MinArea, true), moves, id}
}

func (w *movableWorld) open(token uint32) *Queue {
	c := w.config(token)
	c.Moves, c.NameAt, c.ID = w.moves, Moves*MoveSize, w.id
	return OpenQueue(c, true)
}

func TestTopicEnvelopes(t *testing.T) {
	for _, overwrite := range []bool{false, true} {
		w := newTopicWorld(MinArea, overwrite, 4)
		f := w.open(1)
		a, b := subscribe(t, f, 0), subscribe(t, f, 0)
		for i := range 500 {
			n := i * 7 % 300
			var env, got []byte
			var err error
			if i%2 == 0 {
				must(t, f.PutWith(bg, block(t, i), msg(i, n)))
				got, err = a.GetWith(bg, nil, &env)
			} else {
				must(t, f.TryPutWith(block(t, i), msg(i, n)))
				got, err = a.TryGetWith(nil, &env)
			}
			must(t, err)
			wanted(t, i, n, got, env)
			get := b.TryGet
			if i%2 == 0 {
				get = func(dst []byte) ([]byte, error) { return b.Get(bg, dst) }
			}
			if got, err = get(nil); err != nil || !bytes.Equal(got, msg(i, n)) {
				t.Fatal(got, err)
			}
		}
	}
}

// TestCorruptEnvelope: a block whose length cannot be is as a header that cannot be, for all who read the
// record.
func TestCorruptEnvelope(t *testing.T) {
	for _, first := range []uint64{0, 4, 12, 16, 1 << 31, 1<<32 - 8} {
		for what, read := range map[string]func(t *testing.T) error{
			"queue": func(t *testing.T) error {
				w := newWorld(MinArea, false)
				r := w.open(1)
				must(t, r.PutWith(bg, make([]byte, 8), nil))
				w.area.U64(wordSize).Store(first)
				_, err := r.Browse(bg, 9)
				_, err2 := r.TryGet(nil)
				_, err3 := r.GetMany(bg, 9, func([]byte) error { return nil })
				if !errors.Is(err, errs.ErrCorrupt) || !errors.Is(err3, errs.ErrCorrupt) {
					t.Error(err, err3)
				}
				return err2
			},
			"leases": func(t *testing.T) error {
				w := newWorld(MinArea, true)
				r := w.open(1)
				must(t, r.PutWith(bg, make([]byte, 8), nil))
				w.area.U64(wideHead).Store(first)
				_, err := r.TryLease()
				return err
			},
			"topic": func(t *testing.T) error {
				w := newTopicWorld(MinArea, true, 4)
				f := w.open(1)
				s := subscribe(t, f, 0)
				must(t, f.PutWith(bg, make([]byte, 8), nil))
				w.area.U64(wideHead).Store(first)
				_, err := s.TryGet(nil)
				return err
			},
		} {
			if err := read(t); !errors.Is(err, errs.ErrCorrupt) {
				t.Errorf("%s, a block that begins with %#x: %v", what, first, err)
			}
		}
	}
}

// everyEnvelope reads what the memory holds in the ways that know envelopes.
func everyEnvelope(ctx context.Context, r *Queue, add func(error)) {
	var env []byte
	_, err := r.Browse(ctx, 3)
	add(err)
	if !r.Ack() {
		_, err = r.GetWith(ctx, nil, &env)
		add(err)
		return
	}
	ls, err := r.TryLease()
	add(err)
	if err == nil {
		r.Block(ls, &env)
		add(r.Settle(ls, true))
	}
}
