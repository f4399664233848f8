package topic_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/topic"
)

// Who published a message shows in its number: 1… were there at first, the rest as follows.
const (
	byVictim    = 500
	byRecoverer = 700
	bySurvivor  = 1000
	length      = 200 // bytes of a message
	tookFile    = "took"
)

// scene is one operation on a topic of 4096 bytes, its victim, and what it should have done.
type scene struct {
	name      string
	covers    []string
	overwrite bool
	shift     int  // messages that went through before
	fill      int  // messages that the survivors' subscriber has not received
	puts      int  // messages that the operation publishes, as one commit, numbered from byVictim on
	holds     bool // the victim holds the publishing side from before the operation to its end
	reads     bool // the victim is a subscriber from before, with the last messages
	gets      int  // messages that it receives
	closes    bool // the operation closes the topic
	op        func(v *victim) (func() error, error)
	recover   func(v *victim) (func() error, error)
	rputs     int
}

// victim is a process that has the topic open.
type victim struct {
	s    *scene
	kv   *killtest.Victim
	d    *shiplap.Domain
	r    *topic.Raw
	sub  *topic.RawSubscription
	msgs [][]byte
	took int // descriptor of the file that says what it received
	buf  []byte
}

func (s *scene) prepare(by int, op func(*victim) (func() error, error)) func(*killtest.Victim) (func() error, error) {
	return func(kv *killtest.Victim) (func() error, error) {
		d, err := shiplap.Join("", &shiplap.Options{Dir: kv.Dir, NoSweep: true})
		if err != nil {
			return nil, err
		}
		v := &victim{s: s, d: d, buf: make([]byte, 0, 1024), kv: kv}
		kv.Own(d)
		if v.r, err = topic.OpenRaw(d, "t", nil); err != nil {
			return nil, err
		}
		kv.Own(v.r)
		kv.Close = v.r.Close
		for i := range max(1, s.puts) {
			v.msgs = append(v.msgs, message(by+i, length))
		}
		if s.reads && by == byVictim {
			if v.sub, err = v.r.Subscribe(&topic.SubOptions{Last: s.fill}); err != nil {
				return nil, err
			}
			kv.Own(v.sub)
		}
		v.took, err = syscall.Open(filepath.Join(kv.Dir, tookFile), syscall.O_WRONLY|syscall.O_CREAT|syscall.O_APPEND, 0o600)
		if err != nil {
			return nil, err
		}
		kv.Own(os.NewFile(uintptr(v.took), tookFile))
		return op(v)
	}
}

// own takes a subscription in.
func (v *victim) own(s *topic.RawSubscription, err error) error {
	if err == nil {
		v.kv.Own(s)
	}
	return err
}

// note reports a message that was received.
func (v *victim) note(b []byte, err error) error {
	if err != nil {
		return err
	}
	i, err := number(b)
	if err != nil {
		return err
	}
	_, err = syscall.Write(v.took, binary.LittleEndian.AppendUint64(nil, uint64(i)))
	return err
}

// world is what the survivors have.
type world struct {
	s    *scene
	d    *shiplap.Domain
	r    *topic.Raw
	sub  *topic.RawSubscription
	put  []int // what they published, in order
	got  []int // what they received, in order
	full bool  // while the victim stood, there was no room any more
}

func (w *world) Close() error {
	if w.sub != nil {
		w.sub.Close()
	}
	if w.r != nil {
		w.r.Close()
	}
	return w.d.Close()
}

func (s *scene) setup(t *killtest.Trial) (any, error) {
	d, err := shiplap.Join("", &shiplap.Options{Dir: t.Dir})
	if err != nil {
		return nil, err
	}
	w := &world{s: s, d: d}
	fail := func(err error) (any, error) {
		w.Close()
		return nil, err
	}
	opt := &topic.Options{Capacity: 4096, Subscribers: 32}
	if s.overwrite {
		opt.Policy = topic.Overwrite
	}
	if w.r, err = topic.CreateRaw(d, "t", opt); err != nil {
		return fail(err)
	}
	if w.sub, err = w.r.Subscribe(nil); err != nil {
		return fail(err)
	}
	for range s.shift {
		if err := errors.Join(w.r.TryPublish(message(0, length)), w.receive()); err != nil {
			return fail(err)
		}
	}
	w.got = nil
	for i := range s.fill {
		if err := w.r.TryPublish(message(1+i, length)); err != nil {
			return fail(err)
		}
	}
	return w, nil
}

func (w *world) publish() error {
	i := bySurvivor + len(w.put)
	err := w.r.TryPublish(message(i, length))
	if err == nil {
		w.put = append(w.put, i)
	}
	return err
}

func (w *world) receive() error {
	b, err := w.sub.TryReceive(nil)
	if err != nil {
		return err
	}
	i, err := number(b)
	w.got = append(w.got, i)
	return err
}

func (w *world) drain(end error) error {
	for range 200 {
		err := w.receive()
		if err == end || errors.Is(err, shiplap.ErrClosed) && w.s.closes {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return errors.New("it has no end")
}

// while the victim stands still it must not be robbed, and it keeps nobody from receiving.
func (s *scene) while(t *killtest.Trial, state any) error {
	w := state.(*world)
	for range 40 {
		if err := w.drain(shiplap.ErrEmpty); err != nil {
			return fmt.Errorf("receive beside a standing process: %w", err)
		}
		err := w.publish()
		switch {
		case err == nil && s.holds:
			return errors.New("the victim was robbed of its side")
		case err == nil:
			continue
		case err == shiplap.ErrBusy:
			ctx, cancel := context.WithTimeout(bg, 3*time.Millisecond)
			defer cancel()
			if err := w.r.Publish(ctx, message(9999, length)); err != context.DeadlineExceeded {
				return fmt.Errorf("the side is busy, and Publish returned %w", err)
			}
			return w.holder(true)
		case err == shiplap.ErrFull && !s.overwrite:
			w.full = true
			st, err := w.r.Stats()
			if err == nil && (st.Slowest == nil || st.Slowest.Pid == os.Getpid() && st.Slowest.Lag > 0) {
				err = fmt.Errorf("it is full, and nobody is slow: %+v", st)
			}
			return err
		case errors.Is(err, shiplap.ErrClosed) && s.closes:
			return nil
		default:
			return fmt.Errorf("publish beside a standing process: %w", err)
		}
	}
	if s.reads && s.gets > 0 && !s.overwrite {
		return errors.New("40 messages went past a standing subscriber")
	}
	return nil
}

// holder checks that the publishing side is held by another living process, or by nobody.
func (w *world) holder(held bool) error {
	locks, err := w.d.Locks("t")
	if err != nil || len(locks) != 1 {
		return fmt.Errorf("%d locks (%v)", len(locks), err)
	}
	switch l := locks[0]; {
	case held && (l.Holder == nil || !l.Holder.Alive || l.Holder.Pid == os.Getpid()):
		return fmt.Errorf("lock %s is busy, and held by %v", l.Lock, l.Holder)
	case !held && l.Holder != nil:
		return fmt.Errorf("lock %s is still held by %v", l.Lock, *l.Holder)
	}
	return nil
}

// check lets survivors use the topic, and accounts for each message.
func (s *scene) check(t *killtest.Trial, state any) error {
	w := state.(*world)
	closed := false
	err := killtest.Promptly("drain and publish", func(context.Context) error {
		if err := w.drain(shiplap.ErrEmpty); err != nil {
			return err
		}
		for range 60 { // three times around: the dead hold nobody up
			err := w.publish()
			if errors.Is(err, shiplap.ErrClosed) && s.closes {
				closed = true
				return w.drain(shiplap.ErrEmpty)
			}
			if err == nil {
				err = w.receive()
			}
			if err != nil {
				return err
			}
		}
		return w.drain(shiplap.ErrEmpty)
	})
	if err == nil {
		err = w.account(t, closed)
	}
	if err == nil {
		err = w.others(t, closed)
	}
	if err != nil {
		return err
	}
	return errors.Join(w.holder(false), tidy(w.d, "t", tookFile))
}

// account checks that each message came once, or not at all where it may be missing.
func (w *world) account(t *killtest.Trial, closed bool) error {
	s := w.s
	finished := t.Done || t.Mode == killtest.Pause
	if s.closes && finished && !closed {
		return errors.New("it is not closed")
	}
	group := map[int][]int{}
	for _, i := range w.got {
		by := 0
		for _, first := range []int{byVictim, byRecoverer, bySurvivor} {
			if i >= first {
				by = first
			}
		}
		if g := group[by]; len(g) > 0 && i != g[len(g)-1]+1 {
			return fmt.Errorf("order, or doubled: %v", w.got)
		}
		group[by] = append(group[by], i)
	}
	if n := len(group[byVictim]); n != s.puts && (n != 0 || finished) {
		return fmt.Errorf("%d of the victim's %d messages came: %v", n, s.puts, w.got)
	}
	if n := len(group[byRecoverer]); n > s.rputs || n < s.rputs && t.RecoverDone {
		return fmt.Errorf("%d of the recoverer's %d messages came: %v", n, s.rputs, w.got)
	}
	if len(group[0]) != s.fill || !slices.Equal(group[bySurvivor], w.put) {
		return fmt.Errorf("survivors published %v after %d, and got %v", w.put, s.fill, w.got)
	}
	took, err := readTook(w.d)
	if err != nil || len(took) > s.gets || t.Mode == killtest.Pause && !s.overwrite && len(took) != s.gets {
		return fmt.Errorf("the victim received %v (%v)", took, err)
	}
	for i, n := range took {
		if n != i+1 {
			return fmt.Errorf("the victim received %v", took)
		}
	}
	return nil
}

// others: nobody but us is counted as a subscriber any more, and whoever comes late gets the last messages.
func (w *world) others(t *killtest.Trial, closed bool) error {
	st, err := w.r.Stats()
	if err != nil {
		return err
	}
	for _, sub := range st.Subscribers {
		if sub.Pid != os.Getpid() && (sub.Alive || !w.s.overwrite && !closed) {
			return fmt.Errorf("a subscriber of the dead: %+v", st)
		}
	}
	if st.Published != uint64(w.s.shift+len(w.got)) {
		return fmt.Errorf("%d messages came: %+v", len(w.got), st)
	}
	n := min(3, len(w.got))
	late, err := w.r.Subscribe(&topic.SubOptions{Last: n})
	if err != nil {
		return err
	}
	defer late.Close()
	for _, want := range w.got[len(w.got)-n:] {
		b, err := late.TryReceive(nil)
		if err != nil {
			return fmt.Errorf("late: %w", err)
		}
		if i, err := number(b); err != nil || i != want {
			return fmt.Errorf("late: %d instead of %d (%w)", i, want, err)
		}
	}
	return nil
}

func readTook(d *shiplap.Domain) (took []int, err error) {
	b, err := os.ReadFile(filepath.Join(peertest.Base(d), tookFile))
	for ; len(b) >= 8; b = b[8:] {
		took = append(took, int(binary.LittleEndian.Uint64(b)))
	}
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return took, err
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
	return nil
}

func now(op func(v *victim) error) func(v *victim) (func() error, error) {
	return func(v *victim) (func() error, error) {
		return func() error { return op(v) }, nil
	}
}

// holding is an operation of one who holds the publishing side.
func holding(op func(v *victim, p *topic.RawPublisher) error) func(v *victim) (func() error, error) {
	return func(v *victim) (func() error, error) {
		p, err := v.r.Publisher(bg)
		if err != nil {
			return nil, err
		}
		v.kv.Own(p)
		return func() error { return op(v, p) }, nil
	}
}

// three is for the results of PublishMany.
func three(n int, err error) error {
	if err == nil && n != 3 {
		return fmt.Errorf("%d of 3", n)
	}
	return err
}

var (
	publish     = now(func(v *victim) error { return v.r.Publish(bg, v.msgs[0]) })
	subscribe1  = now(func(v *victim) error { return v.own(v.r.Subscribe(&topic.SubOptions{Last: 2})) })
	publishWith = now(func(v *victim) error { return v.r.PublishWith(bg, v.msgs[0], traced) })
	traced      = shiplap.Envelope{"trace": []byte("00-0af7651916cd43dd8448eb2")}
	receive1    = now(func(v *victim) error { return v.note(v.sub.Receive(bg, v.buf)) })
)

// 18 messages of 216 bytes fit.
var scenes = []*scene{
	{name: "topic/Publish", covers: []string{"topic.Raw.Publish"}, fill: 2, puts: 1, op: publish, recover: publish, rputs: 1},
	{name: "topic/Publish over the end of the ring, giving up old messages", shift: 17, fill: 2, puts: 1, op: publish, recover: publish, rputs: 1},
	{name: "topic/Publish, overwriting", overwrite: true, shift: 17, fill: 2, puts: 1, op: publish, recover: publish, rputs: 1},
	{name: "topic/TryPublish", covers: []string{"topic.Raw.TryPublish"}, fill: 2, puts: 1,
		op: now(func(v *victim) error { return v.r.TryPublish(v.msgs[0]) })},
	{name: "topic/PublishMany over the end of the ring", covers: []string{"topic.Raw.PublishMany"}, shift: 16, fill: 2, puts: 3,
		op: now(func(v *victim) error { return three(v.r.PublishMany(bg, v.msgs)) })},
	{name: "topic/PublishMany, overwriting", overwrite: true, shift: 16, fill: 2, puts: 3,
		op: now(func(v *victim) error { return three(v.r.PublishMany(bg, v.msgs)) })},
	{name: "topic/PublishWith over the end of the ring", covers: []string{"topic.Raw.PublishWith"},
		shift: 18, fill: 0, puts: 1,
		op: publishWith, recover: publish, rputs: 1},
	{name: "topic/PublishWith, overwriting", overwrite: true, shift: 17, fill: 2, puts: 1, op: publishWith},
	{name: "topic/TryPublishWith", covers: []string{"topic.Raw.TryPublishWith"}, fill: 2, puts: 1,
		op: now(func(v *victim) error { return v.r.TryPublishWith(v.msgs[0], traced) })},
	{name: "publisher/TryPublishWith", covers: []string{"topic.RawPublisher.TryPublishWith"},
		fill: 2, puts: 1, holds: true,
		op: holding(func(v *victim, p *topic.RawPublisher) error { return p.TryPublishWith(v.msgs[0], traced) })},
	{name: "publisher/PublishWith", covers: []string{"topic.RawPublisher.PublishWith"},
		fill: 2, puts: 1, holds: true,
		op: holding(func(v *victim, p *topic.RawPublisher) error { return p.PublishWith(bg, v.msgs[0], traced) })},
	{name: "topic/Publisher", covers: []string{"topic.Raw.Publisher"}, fill: 2,
		op: now(func(v *victim) error {
			p, err := v.r.Publisher(bg)
			if err == nil {
				v.kv.Own(p)
			}
			return err
		})},
	{name: "publisher/Publish", covers: []string{"topic.RawPublisher.Publish"}, shift: 17, fill: 2, puts: 1, holds: true,
		op: holding(func(v *victim, p *topic.RawPublisher) error { return p.Publish(bg, v.msgs[0]) })},
	{name: "publisher/TryPublish", covers: []string{"topic.RawPublisher.TryPublish"}, fill: 2, puts: 1, holds: true,
		op: holding(func(v *victim, p *topic.RawPublisher) error { return p.TryPublish(v.msgs[0]) })},
	{name: "publisher/PublishMany", covers: []string{"topic.RawPublisher.PublishMany"}, shift: 16, fill: 2, puts: 3, holds: true,
		op: holding(func(v *victim, p *topic.RawPublisher) error { return three(p.PublishMany(bg, v.msgs)) })},
	{name: "publisher/Close", covers: []string{"topic.RawPublisher.Close"}, fill: 2,
		op: holding(func(_ *victim, p *topic.RawPublisher) error { return p.Close() })},

	{name: "topic/Subscribe", covers: []string{"topic.Raw.Subscribe"}, shift: 17, fill: 3, op: subscribe1, recover: subscribe1},
	{name: "topic/Subscribe, overwriting", overwrite: true, shift: 17, fill: 3, op: subscribe1},
	{name: "topic/Subscribe from now on", fill: 3, op: now(func(v *victim) error { return v.own(v.r.Subscribe(nil)) })},
	{name: "subscription/Receive", covers: []string{"topic.RawSubscription.Receive"}, fill: 3, reads: true, gets: 1, op: receive1},
	{name: "subscription/Receive over the end of the ring", shift: 18, fill: 3, reads: true, gets: 1, op: receive1},
	{name: "subscription/Receive, overwriting", overwrite: true, shift: 18, fill: 3, reads: true, gets: 1,
		op: now(func(v *victim) error {
			err := v.note(v.sub.Receive(bg, v.buf))
			if errors.As(err, new(topic.ErrLagged)) {
				err = nil // survivors went past it
			}
			return err
		})},
	{name: "subscription/TryReceive", covers: []string{"topic.RawSubscription.TryReceive"}, fill: 3, reads: true, gets: 1,
		op: now(func(v *victim) error { return v.note(v.sub.TryReceive(v.buf)) })},
	{name: "subscription/ReceiveWith", covers: []string{"topic.RawSubscription.ReceiveWith"},
		fill: 3, reads: true, gets: 1,
		op: now(func(v *victim) error {
			b, _, err := v.sub.ReceiveWith(bg, v.buf)
			return v.note(b, err)
		})},
	{name: "subscription/TryReceiveWith", covers: []string{"topic.RawSubscription.TryReceiveWith"},
		fill: 3, reads: true,
		gets: 1, op: now(func(v *victim) error {
			b, _, err := v.sub.TryReceiveWith(v.buf)
			return v.note(b, err)
		})},
	{name: "subscription/Close", covers: []string{"topic.RawSubscription.Close"}, fill: 3, reads: true,
		op: now(func(v *victim) error { return v.sub.Close() })},

	{name: "topic/CloseTopic", covers: []string{"topic.Raw.CloseTopic"}, fill: 2, closes: true,
		op: now(func(v *victim) error { return v.r.CloseTopic() })},
	{name: "topic/Close", covers: []string{"topic.Raw.Close"}, fill: 2, reads: true,
		op: func(v *victim) (func() error, error) {
			p, err := v.r.Publisher(bg)
			if err == nil {
				v.kv.Own(p)
			}
			return v.r.Close, err
		}},
}

func (s *scene) scenario() killtest.Scenario {
	k := killtest.Scenario{Name: s.name, Covers: s.covers, Setup: s.setup, Prepare: s.prepare(byVictim, s.op), Check: s.check, While: s.while}
	if s.recover != nil {
		k.Recover = &killtest.Recovery{Prepare: s.prepare(byRecoverer, s.recover), Steps: deaths}
	}
	return k
}

// creation: whatever the dead left, the topic can be opened or made.
func creation(name, covers string, op func(d *shiplap.Domain) (io.Closer, error)) killtest.Scenario {
	return killtest.Scenario{
		Name: name, Covers: []string{covers},
		Setup: func(t *killtest.Trial) (any, error) {
			d, err := shiplap.Join("", &shiplap.Options{Dir: t.Dir})
			return &world{d: d}, err
		},
		Prepare: func(kv *killtest.Victim) (func() error, error) {
			d, err := shiplap.Join("", &shiplap.Options{Dir: kv.Dir, NoSweep: true})
			if err != nil {
				return nil, err
			}
			kv.Own(d)
			kv.Close = d.Close
			return func() error {
				c, err := op(d)
				if err == nil {
					kv.Own(c)
				}
				return err
			}, nil
		},
		Check: func(t *killtest.Trial, state any) (err error) {
			w := state.(*world)
			if _, err := w.d.Stat("t"); err != nil && t.Done {
				return err
			}
			tp, err := topic.OpenOrCreate[int64](w.d, "t", small)
			if err != nil {
				return err
			}
			w.r = tp.Raw()
			return errors.Join(tp.TryPublish(1), tidy(w.d, "t"))
		},
	}
}

var small = &topic.Options{Capacity: 4096, Subscribers: 32}

func scenarios() (all []killtest.Scenario) {
	for _, s := range scenes {
		all = append(all, s.scenario())
	}
	return append(all,
		creation("topic/Create", "topic.Create", func(d *shiplap.Domain) (io.Closer, error) { return topic.Create[int64](d, "t", small) }),
		creation("topic/OpenOrCreate", "topic.OpenOrCreate", func(d *shiplap.Domain) (io.Closer, error) {
			return topic.OpenOrCreate[int64](d, "t", small)
		}),
	)
}

// deaths are those that are recovered from, unless all are.
func deaths(total int) []int { return []int{total, total * 7 / 9, total * 5 / 9} }

func TestKilledAnywhere(t *testing.T) { killtest.RunKills(t, nil, scenarios()...) }

func TestEveryOperationHasAScenario(t *testing.T) {
	const (
		looks = "it reads, and changes nothing that is shared"
		typed = "it encodes or decodes, and does the rest by the method of the same name of the raw type"
		loops = "it calls Receive again and again"
		opens = "opening changes nothing of the topic; what it does to the domain is covered for the queue"
	)
	killtest.CheckCovered(t, ".", map[string]string{
		"topic.*.Stats": looks, "topic.*.String": looks, "topic.StatsOf": looks, "topic.*.Lag": looks, "topic.*.Name": looks,
		"topic.*.Policy": looks, "topic.Raw.Type": looks, "topic.Raw.MaxMessage": looks, "topic.*.All": loops, "topic.*.OnMessage": loops,
		"topic.Topic.*": typed, "topic.Publisher.*": typed, "topic.Subscription.*": typed,
		"topic.Subscription.ReceiveInto": "it is Receive with memory of the caller's", "topic.*.Raw": looks,
		"topic.Open": opens, "topic.OpenRaw": opens, "topic.CreateRaw": "it is Create of bytes",
	}, scenarios()...)
}
