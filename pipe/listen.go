package pipe

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// Listener accepts pipes that other processes dial. It is a net.Listener.
type Listener struct {
	obj     *object.Object
	opt     *Options
	row     *row.Queue
	closed  atomic.Bool
	closing chan struct{}         // closed when closed is set
	cause   atomic.Pointer[error] // why it closed by itself

	turn  turn // of the goroutine that takes names; the rest belongs to it
	c     row.Consumer
	short shortage
}

var _ net.Listener = (*Listener)(nil)

// Listen makes a listener called name. shiplap.ErrExist says that a living process listens there; one that
// died is succeeded. opt counts for the ends that are accepted.
func Listen(d *shiplap.Domain, name string, opt *Options) (*Listener, error) {
	if opt == nil {
		opt = &Options{}
	}
	s := space(d)
	for {
		o, err := createListener(s, name)
		if errors.Is(err, fs.ErrExist) {
			o, err = s.Open(name, object.Listener, listenerParts)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		l := &Listener{obj: o, opt: opt, row: listenerView(o), closing: make(chan struct{})}
		l.turn.init()
		err = object.Guarded(func() error {
			if ok, _ := l.row.ConsumerLock.TryLock(); !ok {
				return fmt.Errorf("%w: another process listens there", errs.ErrExist)
			}
			return l.row.ConsumerLock.Keep(func() error {
				if err := l.c.Resume(l.row); err != nil {
					return err
				}
				l.row.ConsumerLock.MarkSince()
				return nil
			})
		})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen at %q: %w", name, o.Explain(err)), o.Close())
		}
		if o.Err() != nil || l.row.IsClosed() { // its last user removed it just before we came, or died while closing it
			_ = l.Close()
			continue
		}
		return l, nil
	}
}

func createListener(s *object.Space, name string) (*object.Object, error) {
	desc, err := schema.Describe(reflect.TypeFor[string](), schema.Raw)
	if err != nil {
		return nil, err
	}
	spec := object.Spec{
		Kind: object.Listener, Flags: object.Ephemeral, Desc: desc,
		Parts:  []mem.Part{{Len: ctlSize}, {Len: listenerArea, Mirror: true}},
		Locks:  []object.LockAt{{Name: "dial", Off: offRow + row.ProducerLock}, {Name: "listen", Off: offRow + row.ConsumerLock}},
		Events: []int{offRow + row.NotEmpty, offRow + row.NotFull},
	}
	spec.Params[paramArea] = listenerArea
	return s.Create(name, spec)
}

func listenerView(o *object.Object) *row.Queue {
	return row.OpenQueue(row.Config{
		Ctl: o.Ctl, Base: offRow, Area: o.Region.Span(1), State: o.Ctl.U32(offStates), Object: o.Word,
		Owners: o.Space.Table, Sess: &o.Sess, Mode: wait.Sleep,
	}, false)
}

// Addr is the name of the listener.
func (l *Listener) Addr() net.Addr { return Addr(l.obj.Name) }

// String names the listener.
func (l *Listener) String() string { return fmt.Sprintf("listener %q", l.obj.Name) }

// Err is why the listener closed by itself: its ring is damaged or was removed. It is nil if it did not.
func (l *Listener) Err() error {
	if p := l.cause.Load(); p != nil {
		return *p
	}
	return nil
}

// Close ends listening. Pipes that were dialled and not accepted end; those accepted stay.
func (l *Listener) Close() error {
	if !l.shut() {
		return errs.ErrClosed
	}
	_ = l.turn.take(noEnd)
	defer l.turn.give()
	return l.finish()
}

// shut ends all waits. It reports whether it was this call that closed the listener.
func (l *Listener) shut() bool {
	if !l.closed.CompareAndSwap(false, true) {
		return false
	}
	close(l.closing)
	l.obj.Sess.Interrupt(errs.ErrClosed)
	return true
}

// drainMost bounds how long a closing listener waits for a process that is in the middle of dialling. If that
// process was stopped there, it ends its pipe itself when it goes on: see Dial.
const drainMost = 100 * time.Millisecond

// finish closes the ring and ends what was dialled and not accepted, for the holder of the turn. The
// listener's own memory and descriptor go first: where there is a shortage of these, they are what the pipes
// are opened with.
func (l *Listener) finish() error {
	s := l.obj.Space
	if err := s.Retain(); err != nil {
		return err
	}
	defer s.Release()
	var names []string
	err := object.Guarded(func() error {
		l.row.Close()
		names = l.drain()
		l.row.ConsumerLock.UnlockLong()
		return nil
	})
	if e := l.obj.Remove(); e != nil && !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	err = errors.Join(err, l.obj.Close())
	patience := time.Now().Add(refuseMost)
	for _, name := range names {
		var short shortage
		e, why := takeDialled(s, name, l.opt)
		for (scarce(why) || odd(why)) && time.Now().Before(patience) {
			short.begin(why)
			time.Sleep(short.pause)
			e, why = takeDialled(s, name, l.opt)
		}
		if why == nil {
			_ = e.Close() // there is nobody to tell
		}
	}
	return err
}

// refuseMost bounds how long Close waits, in all, for descriptors and memory to end pipes with.
const refuseMost = time.Second

// drain takes the names that are in the closed ring, and those that are just being put.
func (l *Listener) drain() (names []string) {
	l.c.Back()
	pause := 50 * time.Microsecond
	for end := time.Now().Add(drainMost); ; {
		b, err := l.c.TryGet(nil)
		switch {
		case err == nil:
			names = append(names, string(b))
		case err == errs.ErrEmpty && time.Now().Before(end):
			time.Sleep(pause)
			pause = min(2*pause, 5*time.Millisecond)
		default: // drained, or damaged, or a dialler was stopped
			return names
		}
	}
}
