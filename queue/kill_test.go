package queue_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/queue"
)

// Who put a message shows in its number: 1… were there at first, the rest as follows.
const (
	byVictim    = 500
	byRecoverer = 700
	bySurvivor  = 1000
)

type side int // and the number of its lock in a queue, from 1

const (
	noSide side = iota
	putting
	taking
)

// scene is one operation on a queue of 4096 bytes, its victim, and what it should have done.
type scene struct {
	name   string
	covers []string
	size   int  // bytes of a message, 200 if 0: then the 20th goes over the end of the ring
	shift  int  // messages that went through before
	fill   int  // messages in it
	puts   int  // messages that the operation puts, as one commit, numbered from byVictim on
	gets   int  // messages that it takes, as one commit
	last   int  // if not 0, the length of the message put
	holds  side // the side that the victim holds from before the operation to its end
	tight  bool // no room for messages of survivors while the victim lives
	still  bool // survivors take nothing while the victim lives
	closes bool // the operation closes the queue
	env    bool // what is in it at first, and what the operation puts, has an envelope: see traced
	op     func(v *victim) (func() error, error)

	recover      func(v *victim) (func() error, error) // by a process of its own
	rputs, rgets int
}

// victim is a process that has the queue open.
type victim struct {
	s    *scene
	d    *shiplap.Domain
	q    *queue.Raw
	took int // descriptor of the file that says what it took
	buf  []byte
	msgs [][]byte // to put
	p    *queue.RawProducer
	c    *queue.RawConsumer
	to   *queue.Raw // where it moves messages
}

func (s *scene) length() int {
	if s.size == 0 {
		return 200
	}
	return s.size
}

func (s *scene) lastLength() int {
	if s.last == 0 {
		return s.length()
	}
	return s.last
}

// batch is what the victim puts.
func (v *victim) batch() [][]byte { return v.msgs }

func (v *victim) one() []byte { return v.msgs[0] }

// note remembers a message that was taken; report says so.
func (v *victim) note(b []byte) error {
	i, err := number(b)
	v.buf = binary.LittleEndian.AppendUint64(v.buf, uint64(i))
	return err
}

func (v *victim) report(err error) error {
	if err != nil {
		return err
	}
	_, err = syscall.Write(v.took, v.buf)
	return err
}

func (v *victim) noteAndReport(b []byte, err error) error {
	if err != nil {
		return err
	}
	return v.report(v.note(b))
}

const tookFile = "took"

func openVictim(s *scene, kv *killtest.Victim) (*victim, error) {
	d, err := shiplap.Join("", &shiplap.Options{Dir: kv.Dir, NoSweep: true})
	if err != nil {
		return nil, err
	}
	q, err := queue.OpenRaw(d, "q", nil)
	if err != nil {
		return nil, err
	}
	took, err := syscall.Open(filepath.Join(kv.Dir, tookFile), syscall.O_WRONLY|syscall.O_CREAT|syscall.O_APPEND, 0o600)
	v := &victim{s: s, d: d, q: q, took: took, buf: make([]byte, 0, 1024)}
	for i := range max(1, s.puts) {
		v.msgs = append(v.msgs, message(byVictim+i, s.lastLength()))
	}
	return v, err
}

func (s *scene) prepare(op func(*victim) (func() error, error)) func(*killtest.Victim) (func() error, error) {
	return func(kv *killtest.Victim) (func() error, error) {
		v, err := openVictim(s, kv)
		if err != nil {
			return nil, err
		}
		return op(v)
	}
}

// world is what the survivors have.
type world struct {
	s      *scene
	d      *shiplap.Domain
	q      *queue.Raw
	put    []int // what they put, in order
	got    []int // what they took, in order
	bytes  int
	filled int
}

func (w *world) Close() error {
	if w.q != nil {
		w.q.Close()
	}
	return w.d.Close()
}

func (s *scene) setup(t *killtest.Trial) (any, error) {
	d, err := shiplap.Join("", &shiplap.Options{Dir: t.Dir})
	if err != nil {
		return nil, err
	}
	w := &world{s: s, d: d}
	if w.q, err = queue.CreateRaw(d, "q", &queue.Options{Capacity: 4096}); err != nil {
		w.Close()
		return nil, err
	}
	for range s.shift {
		if err := errors.Join(w.tryPut(bySurvivor-1), w.tryGet()); err != nil {
			w.Close()
			return nil, err
		}
	}
	w.put, w.got = nil, nil
	for i := range s.fill {
		put := w.tryPut
		if s.env {
			put = func(i int) error { return w.q.PutWith(bg, message(i, s.length()), traced) }
			w.bytes += s.length() + s.block()
		}
		if err := put(1 + i); err != nil {
			w.Close()
			return nil, err
		}
	}
	w.put, w.filled = nil, s.shift+s.fill
	return w, nil
}

func (w *world) tryPut(i int) error {
	err := w.q.TryPut(message(i, w.s.length()))
	if err == nil {
		w.put = append(w.put, i)
		w.bytes += w.s.length()
	}
	return err
}

func (w *world) next() int { return bySurvivor + len(w.put) }

func (w *world) tryGet() error {
	b, err := w.q.TryGet(nil)
	if err != nil {
		return err
	}
	i, err := number(b)
	w.got = append(w.got, i)
	return err
}

// while the victim stands still it must not be robbed, and what it does not hold must be free.
func (s *scene) while(t *killtest.Trial, state any) error {
	w := state.(*world)
	if _, err := w.q.Stats(); err != nil {
		return fmt.Errorf("stats: %w", err)
	}
	var errPut, errGet error
	if !s.tight {
		errPut = w.tryPut(w.next())
	}
	if s.fill > s.gets && !s.still {
		errGet = w.tryGet()
	}
	for _, c := range []struct {
		what  string
		err   error
		mine  side
		block func(ctx context.Context) error
	}{
		{"put", errPut, putting, func(ctx context.Context) error { return w.q.Put(ctx, message(9999, s.length())) }},
		{"get", errGet, taking, func(ctx context.Context) error { _, err := w.q.Get(ctx, nil); return err }},
	} {
		closed := s.closes && errors.Is(c.err, shiplap.ErrClosed)
		switch {
		case c.err == nil:
			if s.holds == c.mine && (c.mine == taking && s.fill > s.gets || c.mine == putting && !s.tight) {
				return fmt.Errorf("%s: the victim was robbed of its side", c.what)
			}
		case c.err == shiplap.ErrBusy:
			if err := errors.Join(stuck(c.block), w.holder(c.mine, true)); err != nil {
				return fmt.Errorf("%s: %w", c.what, err)
			}
		case !closed:
			return fmt.Errorf("%s: %w", c.what, c.err)
		}
	}
	if _, err := w.d.Sweep(bg, false); err != nil {
		return err
	}
	if m, err := w.d.Members(); err != nil || len(m) != 2 {
		return fmt.Errorf("%d members after a sweep beside a living process (%v)", len(m), err)
	}
	return nil
}

// stuck checks that a call waits while a side is busy.
func stuck(f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(bg, 3*time.Millisecond)
	defer cancel()
	if err := f(ctx); err != context.DeadlineExceeded {
		return fmt.Errorf("the side is busy, and a call that waits for it returned %v", err)
	}
	return nil
}

// holder checks that a side is held by another living process, or by nobody.
func (w *world) holder(s side, held bool) error {
	locks, err := w.d.Locks("q")
	if err != nil || len(locks) != 2 {
		return fmt.Errorf("%d locks (%v)", len(locks), err)
	}
	l := locks[s-1]
	switch {
	case held && (l.Holder == nil || !l.Holder.Alive || l.Holder.Pid == os.Getpid()):
		return fmt.Errorf("lock %s is busy, and held by %v", l.Lock, l.Holder)
	case !held && l.Holder != nil:
		return fmt.Errorf("lock %s is still held by %v", l.Lock, *l.Holder)
	}
	return nil
}

// check lets survivors use the queue, and accounts for each message.
func (s *scene) check(t *killtest.Trial, state any) error {
	w := state.(*world)
	if _, err := w.q.Stats(); err != nil {
		return fmt.Errorf("stats: %w", err)
	}
	if err := w.envelopes(); err != nil {
		return err
	}
	closed := false
	err := killtest.Promptly("put", func(context.Context) error {
		err := w.tryPut(w.next())
		if s.closes && errors.Is(err, shiplap.ErrClosed) {
			closed = true
			return nil
		}
		if err == shiplap.ErrFull {
			return nil
		}
		return err
	})
	if err == nil {
		err = w.drain(closed)
	}
	if err == nil {
		err = w.account(t, closed)
	}
	if err == nil && !closed {
		err = w.again(t)
	}
	if err == nil {
		err = errors.Join(w.holder(putting, false), w.holder(taking, false), tidy(w.d, "q"))
	}
	return err
}

func (w *world) drain(closed bool) error {
	return killtest.Promptly("drain", func(context.Context) error {
		for range 100 {
			err := w.tryGet()
			if closed && errors.Is(err, shiplap.ErrClosed) || !closed && err == shiplap.ErrEmpty {
				return nil
			}
			if err != nil {
				return err
			}
		}
		return errors.New("it has no end")
	})
}

// account checks that each message is there once, or not at all where it may be missing.
func (w *world) account(t *killtest.Trial, closed bool) error {
	s := w.s
	if s.closes && t.Done && !closed {
		return errors.New("it is not closed")
	}
	group := map[int][]int{}
	last, mixed := 0, t.Mode == killtest.Pause // the living may mix, but for what was there before them
	for _, i := range w.got {
		by := author(i)
		if g := group[by]; len(g) > 0 && i <= g[len(g)-1] || i < last && (!mixed || by == 0) {
			return fmt.Errorf("order, or doubled: %v", w.got)
		}
		group[by] = append(group[by], i)
		last = max(last, i)
	}
	finished := t.Done || t.Mode == killtest.Pause
	if n := len(group[byVictim]); n != s.puts && (n != 0 || finished) {
		return fmt.Errorf("%d of the victim's %d messages are there: %v", n, s.puts, w.got)
	}
	if n := len(group[byRecoverer]); n > s.rputs || n < s.rputs && t.RecoverDone {
		return fmt.Errorf("%d of the recoverer's %d messages are there: %v", n, s.rputs, w.got)
	}
	if !slices.Equal(group[bySurvivor], w.put) {
		return fmt.Errorf("survivors put %v, and got %v", w.put, w.got)
	}
	var missing []int
	for i := 1; i <= s.fill; i++ {
		if !slices.Contains(w.got, i) {
			missing = append(missing, i)
		}
	}
	if t.Mode == killtest.Pause {
		took, err := readTook(t.Dir)
		if err != nil || !slices.Equal(took, missing) || len(took) != s.gets {
			return fmt.Errorf("the victim took %v, survivors %v, missing is %v (%v)", took, w.got, missing, err)
		}
		return nil
	}
	if n := len(missing); n > 0 && missing[n-1] != n {
		return fmt.Errorf("missing are %v, which are not the first", missing)
	}
	switch n := len(missing); {
	case n == s.gets+s.rgets:
	case n == s.gets && !t.RecoverDone:
	case n == s.rgets && !t.Done:
	case n == 0 && !t.Done && !t.RecoverDone:
	default:
		return fmt.Errorf("missing are %v", missing)
	}
	return nil
}

func author(i int) (by int) {
	for _, first := range []int{byVictim, byRecoverer, bySurvivor} {
		if i >= first {
			by = first
		}
	}
	return by
}

func readTook(dir string) (took []int, err error) {
	b, err := os.ReadFile(filepath.Join(dir, tookFile))
	for ; len(b) >= 8; b = b[8:] {
		took = append(took, int(binary.LittleEndian.Uint64(b)))
	}
	return took, err
}

// again goes once around the ring, and then looks at the statistics.
func (w *world) again(t *killtest.Trial) error {
	from, deaths := len(w.got), len(w.put)
	err := killtest.Promptly("fill", func(context.Context) error {
		for range 1000 {
			if err := w.tryPut(w.next()); err == shiplap.ErrFull {
				return nil
			} else if err != nil {
				return err
			}
		}
		return errors.New("never full")
	})
	if err == nil {
		err = w.drain(false)
	}
	if err != nil {
		return err
	}
	if want := 4096/(w.s.length()+8) - 1; len(w.put)-deaths < want || !slices.Equal(w.got[from:], w.put[deaths:]) {
		return fmt.Errorf("put %v in a full ring, got %v; at least %d are wanted", w.put[deaths:], w.got[from:], want)
	}
	st, err := w.q.Stats()
	if err != nil {
		return err
	}
	others := 0
	for _, i := range w.got {
		if i >= byVictim && i < bySurvivor {
			others++
		}
	}
	puts := uint64(w.filled + others + len(w.put))
	if st.Depth != 0 || st.Used != 0 || st.Puts != puts || st.Gets != puts || st.HighWater > 4096 {
		return fmt.Errorf("%d puts were made: %+v", puts, st)
	}
	whole := uint64(w.bytes + others*(w.s.lastLength()+w.s.block()))
	if w.s.rputs == 0 && st.Bytes != whole && st.Bytes != uint64(w.bytes) {
		return fmt.Errorf("%d bytes put, or %d: %+v", whole, w.bytes, st)
	}
	return nil
}

// tidy checks that after a sweep nothing of the dead is left.
func tidy(d *shiplap.Domain, names ...string) error {
	if _, err := d.Sweep(bg, false); err != nil {
		return err
	}
	if m, err := d.Members(); err != nil || len(m) != 1 {
		return fmt.Errorf("members after a sweep: %v (%v)", m, err)
	}
	files, err := peertest.Files(d)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !slices.Contains(names, f) {
			return fmt.Errorf("%s stays after a sweep", f)
		}
	}
	if len(files) != len(names) {
		return fmt.Errorf("files %v; %v are wanted", files, names)
	}
	return nil
}

func (s scene) scenario() killtest.Scenario {
	k := killtest.Scenario{Name: s.name, Covers: s.covers, Setup: s.setup, Prepare: s.prepare(s.op), Check: s.check, While: s.while}
	if s.recover != nil {
		k.Recover = &killtest.Recovery{Prepare: s.prepare(s.recover), Steps: deaths}
	}
	k.Interrupt = described{s.name, s.op, s.fill, s.holds, s.prepare, s.check}.interrupt()
	return k
}

// deaths are those that are recovered from, unless all are.
func deaths(total int) (steps []int) {
	const n = 3
	for i := range n { // most of the beginning is spent on the way to what is shared
		steps = append(steps, total-i*total*2/3/n)
	}
	return steps
}

func TestKilledAnywhere(t *testing.T) { killtest.RunKills(t, nil, scenarios()...) }
