package channel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
)

// world is what survivors have: perhaps side A of the channel "c", into which "to B 0" to "to B 2" were sent.
type world struct {
	d   *shiplap.Domain
	a   *channel.Channel[string]
	got []string

	waiting chan error // how a Receive at side A ended that began before everything else
	giveUp  context.CancelFunc
}

func (w *world) Close() error {
	if w.giveUp != nil {
		w.giveUp()
		<-w.waiting
	}
	if w.a != nil {
		w.a.Close()
	}
	return w.d.Close()
}

func joinAt(dir string) (*shiplap.Domain, error) {
	return shiplap.Join("t", &shiplap.Options{Dir: dir, NoSweep: true})
}

func empty(t *killtest.Trial) (any, error) {
	d, err := joinAt(t.Dir)
	return &world{d: d}, err
}

// small is lent only briefly: a trial that ends before its reference is opened leaves a keeper in this
// process.
var small = &channel.Options{Capacity: 4096, Ephemeral: true, Lend: time.Millisecond}

func withA(t *killtest.Trial) (any, error) {
	d, err := joinAt(t.Dir)
	if err != nil {
		return nil, err
	}
	w := &world{d: d}
	if w.a, err = channel.Set[string](d, "c", small); err == nil {
		for i := range 3 {
			err = errors.Join(err, w.a.Send(bg, fmt.Sprint("to B ", i)))
		}
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// withWaiter is withA, and somebody waits at side A.
func withWaiter(t *killtest.Trial) (any, error) {
	state, err := withA(t)
	if err != nil {
		return nil, err
	}
	w := state.(*world)
	w.waiting = make(chan error, 2)
	var ctx context.Context
	ctx, w.giveUp = context.WithCancel(bg)
	go func() {
		_, err := w.a.Receive(ctx)
		w.waiting <- err
		close(w.waiting)
	}()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Microsecond) {
		if s, err := w.a.Stats(); err != nil || s.BtoA.ReceiveWaits > 0 {
			break
		}
	}
	return w, nil
}

// waiterTold: who waits at side A learns that B is gone, if it came.
func waiterTold(t *killtest.Trial, state any) error {
	w := state.(*world)
	s, err := w.a.Stats()
	if err != nil {
		return err
	}
	if s.B.Opened == 0 {
		if completed(t) {
			return errors.New("B came, and nobody knows")
		}
		w.giveUp()
		if err := <-w.waiting; !errors.Is(err, context.Canceled) {
			return fmt.Errorf("nobody came, and Receive returned: %w", err)
		}
		return goesOn(w, 0, 0)
	}
	select {
	case err := <-w.waiting:
		if err != io.EOF && !errors.Is(err, shiplap.ErrPeerGone) {
			return fmt.Errorf("receive: %w", err)
		}
	case <-time.After(10 * time.Second):
		return errors.New("B is gone, and who waits for it is not told")
	}
	return goesOn(w, 0, 0)
}

// onB makes a Prepare of an operation at side B.
func onB(op func(b *channel.Channel[string]) error) func(*killtest.Victim) (func() error, error) {
	return func(v *killtest.Victim) (func() error, error) {
		d, err := joinAt(v.Dir)
		if err != nil {
			return nil, err
		}
		b, err := channel.Get[string](d, "c", nil)
		if err != nil {
			return nil, err
		}
		v.Own(d)
		v.Own(b)
		v.Close = b.Close
		return func() error { return op(b) }, nil
	}
}

func onDomain(op func(d *shiplap.Domain) (io.Closer, error)) func(*killtest.Victim) (func() error, error) {
	return killtest.OnDomain(joinAt, op)
}

// shortly allows for what the kernel needs to tell of a death, and for a busy machine.
func shortly() (context.Context, context.CancelFunc) { return context.WithTimeout(bg, 10*time.Second) }

func completed(t *killtest.Trial) bool { return t.Done || t.Mode == killtest.Pause }

// exchange sends one message from x to y.
func exchange(x, y *channel.Channel[string]) error {
	ctx, cancel := shortly()
	defer cancel()
	if err := x.Send(ctx, "hello"); err != nil {
		return err
	}
	s, err := y.Receive(ctx)
	if err == nil && s != "hello" {
		err = fmt.Errorf("got %q", s)
	}
	return err
}

// drain receives until the end or until nothing comes, and returns that.
func drain(c *channel.Channel[string], got *[]string) error {
	ctx, cancel := shortly()
	defer cancel()
	for {
		s, err := c.Receive(ctx)
		if err != nil {
			return err
		}
		*got = append(*got, s)
	}
}

// goesOn: somebody comes to side B and finds the first messages, but for one, perhaps, if the victim took it; all works.
func goesOn(w *world, most, least int) error {
	b, err := channel.Get[string](w.d, "c", nil)
	if err != nil {
		return err
	}
	var rest []string
	for {
		s, err := b.TryReceive()
		if errors.Is(err, shiplap.ErrEmpty) {
			break
		}
		if err != nil {
			return err
		}
		rest = append(rest, s)
	}
	all := []string{"to B 0", "to B 1", "to B 2"}
	if n := len(all) - len(rest); n < least || n > most || !slices.Equal(rest, all[n:]) {
		return fmt.Errorf("there is %q", rest)
	}
	if err := errors.Join(exchange(w.a, b), exchange(b, w.a), b.Close()); err != nil {
		return err
	}
	if err := drain(w.a, &w.got); err != io.EOF {
		return fmt.Errorf("receive when B closed it: %w", err)
	}
	if err := w.a.Close(); err != nil {
		return err
	}
	return tidy(w.d)
}

// tidy: nothing is left but what is named.
func tidy(d *shiplap.Domain, names ...string) error {
	if _, err := d.Sweep(bg, false); err != nil {
		return err
	}
	files, err := peertest.Files(d)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !slices.Contains(names, f) {
			return fmt.Errorf("%s stays", f)
		}
	}
	if m, err := d.Members(); err != nil || len(m) != 1 {
		return fmt.Errorf("members after a sweep: %v (%v)", m, err)
	}
	return nil
}

// gone: A learns that B is dead, if it had come; what B sent comes before, whole or not at all; who comes to side
// B after that finds what B did not take.
func gone(sent string, takes int, closes bool) func(t *killtest.Trial, state any) error {
	return func(t *killtest.Trial, state any) error {
		w := state.(*world)
		err := drain(w.a, &w.got)
		orderly := err == io.EOF
		if !orderly && !errors.Is(err, shiplap.ErrPeerGone) {
			return fmt.Errorf("receive from the dead: %w", err)
		}
		if orderly && !closes || !orderly && closes && completed(t) {
			return fmt.Errorf("completed: %v, and the end is: %w", completed(t), err)
		}
		if err := w.a.Send(bg, "x"); !errors.Is(err, shiplap.ErrPeerGone) {
			return fmt.Errorf("send to the dead: %w", err)
		}
		if n := len(w.got); n > 1 || n == 1 && w.got[0] != sent || n == 0 && sent != "" && completed(t) {
			return fmt.Errorf("got %q, %q was sent, completed: %v", w.got, sent, completed(t))
		}
		least := 0
		if completed(t) {
			least = takes
		}
		return goesOn(w, takes, least)
	}
}

// stands: a standing peer is not gone.
func stands(closes bool) func(t *killtest.Trial, state any) error {
	return func(t *killtest.Trial, state any) error {
		w := state.(*world)
		ctx, cancel := context.WithTimeout(bg, 3*time.Millisecond)
		defer cancel()
		s, err := w.a.Receive(ctx)
		switch {
		case err == nil:
			w.got = append(w.got, s)
		case err == io.EOF && closes:
		case err != context.DeadlineExceeded:
			return fmt.Errorf("receive: %w", err)
		}
		return look(t, state)
	}
}

// look: a sweep beside a standing process takes nothing away from it, and may find the names locked.
func look(_ *killtest.Trial, state any) error {
	ctx, cancel := context.WithTimeout(bg, 3*time.Millisecond)
	defer cancel()
	d := state.(*world).d
	_, err := d.Sweep(ctx, false)
	if err != nil && !errors.Is(err, shiplap.ErrBusy) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	_, err = channel.List(d)
	return err
}

// came: B came or it did not; if it did, A learns of its death.
func came(t *killtest.Trial, state any) error {
	w := state.(*world)
	s, err := w.a.Stats()
	if err != nil {
		return err
	}
	if s.B.Opened > 0 {
		return gone("", 0, false)(t, state)
	}
	if completed(t) {
		return errors.New("B came, and nobody knows")
	}
	return goesOn(w, 0, 0)
}

// beside: side A was opened by another, who died; the first one is still there.
func beside(_ *killtest.Trial, state any) error { return goesOn(state.(*world), 0, 0) }

// settable: the name can be used, whatever the dead left.
func settable(t *killtest.Trial, state any) error {
	w := state.(*world)
	if _, err := w.d.Stat("c"); err != nil && completed(t) {
		return err
	}
	var err error
	if w.a, err = channel.SetOrGetOwn[string](w.d, "c", small); err != nil {
		return err
	}
	for i := range 3 {
		if err := w.a.Send(bg, fmt.Sprint("to B ", i)); err != nil {
			return err
		}
	}
	return goesOn(w, 0, 0)
}

// swept: a sweep takes away what the dead had for himself.
func swept(_ *killtest.Trial, state any) error {
	w := state.(*world)
	if w.a != nil {
		if err := w.a.Close(); err != nil {
			return err
		}
	}
	return tidy(w.d)
}

// again is what a recoverer does at side B.
func again(b *channel.Channel[string]) error {
	_, err := b.TryReceive()
	if errors.Is(err, shiplap.ErrEmpty) {
		err = nil
	}
	return errors.Join(err, b.TrySend("more"), b.Close())
}

// recovered: after two deaths at side B, all works.
func recovered(t *killtest.Trial, state any) error {
	w := state.(*world)
	ctx, cancel := context.WithTimeout(bg, 3*time.Millisecond)
	defer cancel()
	for {
		if _, err := w.a.Receive(ctx); err != nil {
			if err != io.EOF && !errors.Is(err, shiplap.ErrPeerGone) && err != context.DeadlineExceeded {
				return err
			}
			break
		}
	}
	return goesOn(w, 2, 0)
}

// either is the check of a scenario that is killed, and killed again while it is recovered.
func either(once func(t *killtest.Trial, state any) error) func(t *killtest.Trial, state any) error {
	return func(t *killtest.Trial, state any) error {
		if t.Mode == killtest.Recover {
			return recovered(t, state)
		}
		return once(t, state)
	}
}

// secret makes an ephemeral channel, promises one side of it to somebody who does not come, and closes it.
func secret(v *killtest.Victim) (func() error, error) {
	d, err := joinAt(v.Dir)
	if err != nil {
		return nil, err
	}
	c, err := channel.Anonymous[string](d, &channel.Options{Capacity: 4096, Lend: 20 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	v.Own(d)
	v.Own(c)
	v.Close = c.Close
	_, err = c.Ref(channel.SideB)
	return c.Close, err
}

func scenarios() []killtest.Scenario {
	atB := func(name string, covers []string, sent string, takes int, closes bool, op func(b *channel.Channel[string]) error) killtest.Scenario {
		return killtest.Scenario{
			Name: name, Covers: covers, Setup: withA, Prepare: onB(op), Check: either(gone(sent, takes, closes)), While: stands(closes),
			Recover: &killtest.Recovery{Prepare: onB(again), Steps: deaths},
		}
	}
	first := func(s string, err error) error {
		if err == nil && s != "to B 0" {
			err = fmt.Errorf("got %q", s)
		}
		return err
	}
	return []killtest.Scenario{
		{
			Name: "channel/Set", Covers: []string{"channel.Set"}, Setup: empty, Check: settable, While: look,
			Prepare: onDomain(func(d *shiplap.Domain) (io.Closer, error) { return channel.Set[string](d, "c", small) }),
		},
		{
			Name: "channel/SetOrGetOwn", Covers: []string{"channel.SetOrGetOwn"}, Setup: empty, Check: settable, While: look,
			Prepare: onDomain(func(d *shiplap.Domain) (io.Closer, error) { return channel.SetOrGetOwn[string](d, "c", small) }),
		},
		{
			Name: "channel/Anonymous", Covers: []string{"channel.Anonymous"}, Setup: empty, Check: swept, While: look,
			Prepare: onDomain(func(d *shiplap.Domain) (io.Closer, error) {
				return channel.Anonymous[string](d, &channel.Options{Capacity: 4096})
			}),
		},
		{
			Name: "channel/Get", Covers: []string{"channel.Get", "channel.OpenRaw"}, Setup: withA, Check: either(came), While: stands(false),
			Prepare: onDomain(func(d *shiplap.Domain) (io.Closer, error) { return channel.Get[string](d, "c", nil) }),
			Recover: &killtest.Recovery{Steps: deaths, Prepare: onDomain(func(d *shiplap.Domain) (io.Closer, error) {
				return channel.Get[string](d, "c", nil)
			})},
		},
		{
			Name: "channel/Get of one who is waited for", Covers: []string{"channel.Get"}, Setup: withWaiter, Check: waiterTold, While: look,
			Prepare: onDomain(func(d *shiplap.Domain) (io.Closer, error) { return channel.Get[string](d, "c", nil) }),
		},
		{
			Name: "channel/Close of one who is waited for", Covers: []string{"channel.Channel.Close"}, Setup: withWaiter, Check: waiterTold, While: look,
			Prepare: onB((*channel.Channel[string]).Close),
		},
		{
			Name: "channel/GetOwn", Covers: []string{"channel.GetOwn"}, Setup: withA, Check: beside, While: stands(false),
			Prepare: onDomain(func(d *shiplap.Domain) (io.Closer, error) { return channel.GetOwn[string](d, "c", nil) }),
		},
		{
			Name: "channel/Ref.Open", Covers: []string{"channel.Ref.Open"}, Check: came, While: stands(false),
			Setup: func(t *killtest.Trial) (any, error) {
				state, err := withA(t)
				if err != nil {
					return nil, err
				}
				ref, err := state.(*world).a.Ref(channel.SideB)
				t.Arg = ref.ID
				return state, err
			},
			Prepare: func(v *killtest.Victim) (func() error, error) {
				d, err := joinAt(v.Dir)
				ref := channel.Ref[string]{Domain: "t", Name: "c", Side: channel.SideB, ID: v.Arg}
				if err != nil {
					return nil, err
				}
				v.Own(d)
				v.Close = d.Close
				return func() error {
					c, err := ref.Open(d, nil)
					if err == nil {
						v.Own(c)
					}
					return err
				}, nil
			},
		},
		atB("channel/Send", []string{"channel.Channel.Send", "channel.Raw.Send"}, "to A", 0, false, func(b *channel.Channel[string]) error { return b.Send(bg, "to A") }),
		atB("channel/TrySend", []string{"channel.Channel.TrySend", "channel.Raw.TrySend"}, "to A", 0, false, func(b *channel.Channel[string]) error { return b.TrySend("to A") }),
		atB("channel/Receive", []string{"channel.Channel.Receive", "channel.Raw.Receive"}, "", 1, false, func(b *channel.Channel[string]) error { return first(b.Receive(bg)) }),
		atB("channel/TryReceive", []string{"channel.Channel.TryReceive", "channel.Raw.TryReceive"}, "", 1, false, func(b *channel.Channel[string]) error { return first(b.TryReceive()) }),
		atB("channel/SendWith", []string{"channel.Channel.SendWith", "channel.Raw.SendWith"}, "to A", 0, false,
			func(b *channel.Channel[string]) error {
				return b.SendWith(bg, "to A", shiplap.Envelope{"trace": []byte("00-0af7651916cd43dd8448eb2")})
			}),
		atB("channel/TrySendWith", []string{"channel.Channel.TrySendWith", "channel.Raw.TrySendWith"}, "to A", 0, false,
			func(b *channel.Channel[string]) error {
				return b.TrySendWith("to A", shiplap.Envelope{"trace": []byte("00-0af7651916cd43dd8448eb2")})
			}),
		atB("channel/TryReceiveWith", []string{"channel.Channel.TryReceiveWith", "channel.Raw.TryReceiveWith"}, "", 1, false,
			func(b *channel.Channel[string]) error {
				v, _, err := b.TryReceiveWith()
				return first(v, err)
			}),
		atB("channel/ReceiveWith", []string{"channel.Channel.ReceiveWith", "channel.Raw.ReceiveWith"}, "", 1, false,
			func(b *channel.Channel[string]) error {
				v, _, err := b.ReceiveWith(bg)
				return first(v, err)
			}),
		atB("channel/Close", []string{"channel.Channel.Close", "channel.Raw.Close"}, "", 0, true, (*channel.Channel[string]).Close),
		{
			Name: "channel/Close of a channel that was lent", Covers: []string{"channel.Channel.Close"}, Setup: empty, Prepare: secret, Check: swept, While: look,
		},
	}
}

// deaths are those that are recovered from, unless all are.
func deaths(total int) []int { return []int{total / 2, total * 3 / 4, total} }

func TestKilledAnywhere(t *testing.T) {
	killtest.RunKills(t, func(s killtest.Scenario, opt *killtest.Options) (skip string) {
		if killtest.Thorough() {
			return ""
		}
		// Recoverers of the others take ten seconds each.
		opt.Recover = slices.Contains([]string{"channel/Receive", "channel/Close"}, s.Name)
		if s.Name == "channel/Get of one who is waited for" {
			opt.Pause = false // what the victim does depends on when the waiter sleeps: such trials are made again
		}
		return ""
	}, scenarios()...)
}

func TestEveryOperationHasAScenario(t *testing.T) {
	const looks = "it reads, and changes nothing that is shared"
	killtest.CheckCovered(t, ".", map[string]string{
		"channel.*.String": looks, "channel.*.Stats": looks, "channel.StatsOf": looks, "channel.List": looks, "channel.*.Name": looks, "channel.*.Side": looks,
		"channel.Raw.Type": looks, "channel.Raw.MaxMessage": looks, "channel.Channel.Raw": looks,
		"channel.*.WaitPeer":          "it waits, and changes nothing that is shared",
		"channel.Channel.All":         "it receives by Receive",
		"channel.Channel.Ref":         "it notes something in this process alone",
		"channel.Channel.OnReceive":   "its goroutines receive as Receive does",
		"channel.Channel.OnUnmatched": "its goroutines receive as Receive does",
	}, scenarios()...)
}
