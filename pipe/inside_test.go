package pipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/internal/row"
	"github.com/shiplap-ipc/shiplap/lock"
)

func domain(t testing.TB) *shiplap.Domain {
	t.Helper()
	d, err := shiplap.Join("", &shiplap.Options{Dir: t.TempDir()})
	ok(t, err)
	t.Cleanup(func() { ok(t, d.Close()) })
	return d
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v; %v is wanted", what, err, want)
	}
}

// within bounds what must not take long.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func listen(t testing.TB, d *shiplap.Domain) *Listener {
	t.Helper()
	l, err := Listen(d, "l", nil)
	ok(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

var tiny = &Options{Capacity: 4096}

// A peer writes into the ring of a listener whatever it likes. The listener skips it, and nothing that
// was not dialled to it is touched.
func TestAcceptSkips(t *testing.T) {
	d := domain(t)
	l := listen(t, d)
	m, err := lock.CreateMutex(d, "jobs", nil)
	ok(t, err)
	defer m.Close()
	free, err := Create(d, "free", tiny) // anybody may open it
	ok(t, err)
	defer free.Close()
	other, err := create(space(d), "other", tiny, 77) // it expects another process, which is gone
	ok(t, err)
	defer other.Close()
	dir := space(d).Dir.Path()
	ok(t, os.WriteFile(filepath.Join(dir, "junk"), []byte(strings.Repeat("\x5a\xa5 random", 2000)), 0o600))
	ok(t, os.WriteFile(filepath.Join(dir, "short"), nil, 0o600))
	ok(t, os.Mkdir(filepath.Join(dir, "directory"), 0o700))
	ok(t, os.Symlink("free", filepath.Join(dir, "link")))
	names := []string{"jobs", "free", "other", "junk", "short", "directory", "link", "l", "nothing", "", "../x",
		"\x00", "#members"}
	for _, name := range names {
		ok(t, l.row.Put(within(t), []byte(name)))
	}
	twice, err := Dial(within(t), d, "l", tiny)
	ok(t, err)
	defer twice.Close()
	ok(t, l.row.Put(within(t), []byte(twice.Name())))
	last, err := Dial(within(t), d, "l", tiny)
	ok(t, err)
	defer last.Close()
	for _, a := range []*End{twice, last} {
		b, err := l.AcceptEnd(within(t))
		ok(t, err)
		defer b.Close()
		if b.Name() != a.Name() {
			t.Fatalf("accepted %v, not %v", b, a)
		}
	}
	ok(t, twice.Send(within(t), []byte("x"))) // its name came twice
	ok(t, free.Send(within(t), []byte("x")))
	is(t, "a send to the other process", other.Send(within(t), []byte("x")), shiplap.ErrPeerGone)
	ok(t, m.Lock(within(t)))
	ok(t, m.Unlock())
	for _, name := range []string{"junk", "short", "directory", "link", "jobs", "free", "other"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	_, err = Open(d, "other", nil)
	is(t, "the end that another process was dialled for", err, shiplap.ErrBusy)
}

// A pipe that was dialled to us and cannot be taken ends, so that its maker does not wait for ever.
func TestAcceptEndsWhatItCannotTake(t *testing.T) {
	d := domain(t)
	l := listen(t, d)
	a, err := Dial(within(t), d, "l", tiny)
	ok(t, err)
	defer a.Close()
	a.obj.Ctl.U32(rowBase(int(sideB.out())) + row.ProducerLock).Store(a.obj.Space.Table.Self()) // in the way
	got := make(chan error, 1)
	go func() { _, err := l.AcceptEnd(within(t)); got <- err }()
	_, err = a.Recv(within(t), nil)
	is(t, "the one that dialled", err, shiplap.ErrRemoved)
	ok(t, l.Close())
	is(t, "the accept", <-got, shiplap.ErrClosed)
}

// A listener whose own ring is damaged or gone says so once, and closes.
func TestListenerEndsByItself(t *testing.T) {
	for what, tt := range map[string]struct {
		harm func(*shiplap.Domain, *Listener) error
		want error
	}{
		"damaged": {func(_ *shiplap.Domain, l *Listener) error {
			l.obj.Region.Span(1).U64(0).Store(0x1008)
			return nil
		}, shiplap.ErrCorrupt},
		"removed": {func(d *shiplap.Domain, _ *Listener) error { return d.Remove(context.Background(), "l") }, shiplap.ErrRemoved},
		"closed by others": {func(_ *shiplap.Domain, l *Listener) error {
			listenerView(l.obj).Close()
			return nil
		}, shiplap.ErrClosed},
		"truncated": {func(_ *shiplap.Domain, l *Listener) error {
			return os.Truncate(filepath.Join(l.obj.Space.Dir.Path(), "l"), 4096)
		}, shiplap.ErrCorrupt},
	} {
		t.Run(what, func(t *testing.T) {
			d := domain(t)
			l := listen(t, d)
			ok(t, l.Err())
			ok(t, tt.harm(d, l))
			_, err := l.AcceptEnd(within(t))
			is(t, "the first", err, tt.want)
			is(t, "the reason", l.Err(), tt.want)
			for range 3 {
				_, err = l.AcceptEnd(within(t))
				is(t, "from then on", err, shiplap.ErrClosed)
			}
			_, err = l.Accept()
			is(t, "from then on", err, net.ErrClosed)
			is(t, "close", l.Close(), shiplap.ErrClosed)
			again := listen(t, d)
			ok(t, again.Close())
		})
	}
}

// An accept that waits for its turn obeys its context.
func TestAcceptInTurn(t *testing.T) {
	d := domain(t)
	l := listen(t, d)
	got := make(chan error, 1)
	go func() { _, err := l.AcceptEnd(within(t)); got <- err }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err := l.AcceptEnd(ctx)
	is(t, "the second", err, context.DeadlineExceeded)
	ok(t, l.Close())
	is(t, "the first", <-got, shiplap.ErrClosed)
}

// busyWord is where a ring says that a producer is about to commit (layout, section 8).
const busyWord = 552

// dialByHand is a dialler that is stopped between its last look at the ring's state and its commit.
type dialByHand struct {
	e *End
	c *dialling
	p row.Producer
}

func newDialByHand(t *testing.T, d *shiplap.Domain) *dialByHand {
	s := space(d)
	o, err := s.Open("l", object.Listener, listenerParts)
	ok(t, err)
	h := &dialByHand{c: &dialling{o: o, row: listenerView(o)}}
	h.c.token = lockOwner(o, offRow+row.ConsumerLock)
	h.e, err = h.c.makePipe(within(t), tiny)
	ok(t, err)
	t.Cleanup(func() { ok(t, o.Close()) })
	_, err = h.c.row.ProducerLock.Lock(within(t))
	ok(t, err)
	ok(t, h.p.Resume(&h.c.row.Row))
	o.Ctl.U32(offRow + busyWord).Store(1)
	return h
}

// commit stores what Producer.Commit does behind its look at the state.
func (h *dialByHand) commit() {
	name := h.e.Name()
	sp := h.c.o.Region.Span(1)
	sp.StoreBytes(8, []byte(name))
	sp.U64(8 + (len(name)+7)/8*8).Store(0)
	sp.U64(0).Store(uint64(len(name)) | 1<<32 | 1<<40)
	h.c.o.Ctl.U32(offRow + busyWord).Store(0)
	h.c.row.ProducerLock.Unlock()
}

// A listener that closes takes what is put at that moment.
func TestCloseTakesWhatIsBeingDialled(t *testing.T) {
	d := domain(t)
	l := listen(t, d)
	h := newDialByHand(t, d)
	closed := make(chan error, 1)
	go func() { closed <- l.Close() }()
	for !h.c.row.IsClosed() {
		runtime.Gosched()
	}
	time.Sleep(5 * time.Millisecond) // it may find nothing, and must not be content
	h.commit()
	ok(t, <-closed)
	if _, err := h.e.Recv(within(t), nil); err != io.EOF {
		t.Errorf("the pipe that was dialled: %v", err)
	}
	ok(t, h.e.Close())
}

// It does not wait for ever for a stopped process, which finds out itself when it goes on.
func TestStoppedDiallerLooksAgain(t *testing.T) {
	d := domain(t)
	l := listen(t, d)
	h := newDialByHand(t, d)
	ok(t, l.Close())
	h.commit()
	is(t, "the last look", h.c.accepted(h.e), shiplap.ErrPeerGone)
	ok(t, h.e.Close())
}

// A listener that accepts and closes at once is no reason for a Dial to fail.
func TestAcceptedBeforeTheLastLook(t *testing.T) {
	d := domain(t)
	l := listen(t, d)
	h := newDialByHand(t, d)
	h.commit()
	b, err := l.AcceptEnd(within(t))
	ok(t, err)
	ok(t, l.Close())
	ok(t, h.c.accepted(h.e))
	ok(t, errors.Join(h.e.Send(within(t), []byte("x")), b.Close(), h.e.Close()))
}

// A Dial that waits for room is told of the listener's death.
func TestDialWaitsForTheDead(t *testing.T) {
	d := domain(t)
	p := peertest.Start(t, d, "listen", map[string]string{"Name": "l"})
	p.Says("listening")
	o, err := space(d).Open("l", object.Listener, listenerParts)
	ok(t, err)
	r := listenerView(o)
	for err == nil {
		err = r.TryPut([]byte(strings.Repeat("x", 1000)))
	}
	is(t, "fill it", err, shiplap.ErrFull)
	const n = 3
	got := make(chan error, n)
	for range n {
		go func() { _, err := Dial(within(t), d, "l", tiny); got <- err }()
	}
	for {
		st, err := r.Stats()
		ok(t, err)
		if st.PutSleeps >= n {
			break
		}
		time.Sleep(time.Millisecond)
	}
	ok(t, o.Close())
	p.Kill()
	killed := time.Now()
	for range n {
		is(t, "dial", <-got, shiplap.ErrPeerGone)
	}
	t.Logf("told after %v", time.Since(killed))
	if list, err := d.List(); err != nil || len(list) != 0 {
		t.Errorf("left: %v, %v", list, err)
	}
}

// Names that others put in the way of dialled pipes do not stop a Dial.
func TestDialSkipsTakenNames(t *testing.T) {
	d := domain(t)
	l := listen(t, d)
	e, err := Dial(within(t), d, "l", tiny)
	ok(t, err)
	defer e.Close()
	stem := e.Name()[:strings.LastIndexByte(e.Name(), '.')+1]
	for i := range uint64(20) {
		ok(t, os.WriteFile(filepath.Join(space(d).Dir.Path(), fmt.Sprint(stem, dialled.Load()+1+i)), []byte("x"),
			0o600))
	}
	again, err := Dial(within(t), d, "l", tiny)
	ok(t, err)
	ok(t, again.Close())
	ok(t, l.Close())
}

// A peer that closes in order never looks as if it had died.
func TestPeerClosesWhileAsked(t *testing.T) {
	d := domain(t)
	rounds := 5000
	if testing.Short() {
		rounds = 1000
	}
	died := 0
	for range rounds {
		a, err := Create(d, "p", tiny)
		ok(t, err)
		b, err := Open(d, "p", nil)
		ok(t, err)
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.Close() })
		for state := a.obj.Ctl.U32(offStates + 4*sideB.out()); ; {
			done := state.Load()&row.Closed != 0
			if a.PeerDied() {
				died++
			}
			if done {
				break
			}
		}
		wg.Wait()
		ok(t, a.Close())
	}
	if died > 0 {
		t.Errorf("%d of %d peers that closed are said to have died", died, rounds)
	}
}

// A deadline that is taken away leaves nothing behind.
func TestDeadlineTakenAway(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const n = 5000
	before := heap()
	for range n {
		var d deadline
		d.set(time.Now().Add(time.Hour))
		d.set(time.Time{})
		_ = d.current()
		d.set(time.Time{})
	}
	if now := heap(); now > before+n*100 {
		t.Errorf("%d bytes a deadline stay", (now-before)/n)
	}
}
