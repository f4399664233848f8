package proc_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/pipe"
	"github.com/shiplap-ipc/shiplap/proc"
	"github.com/shiplap-ipc/shiplap/queue"
)

// The producer and the consumer of Python's documentation, over a queue and over a pipe.

func produce(ctx context.Context, self *proc.Child) error {
	q, err := queue.OpenOrCreate[int](self.Domain(), "numbers", nil)
	if err != nil {
		return err
	}
	defer q.Close()
	for i := range 5 {
		if err := q.Put(ctx, i); err != nil {
			return err
		}
	}
	return q.CloseQueue()
}

func consume(ctx context.Context, self *proc.Child) error {
	q, err := queue.OpenOrCreate[int](self.Domain(), "numbers", nil)
	if err != nil {
		return err
	}
	defer q.Close()
	for i, err := range q.All(ctx) {
		if err != nil {
			return err
		}
		fmt.Println("收到了", i)
	}
	return nil
}

func pipeProduce(ctx context.Context, self *proc.Child) error {
	e, err := pipe.OpenOrCreate(self.Domain(), "wire", nil)
	if err != nil {
		return err
	}
	defer e.Close()
	for i := range 5 {
		if err := e.Send(ctx, fmt.Append(nil, i)); err != nil {
			return err
		}
	}
	return e.Drain(ctx)
}

func pipeConsume(ctx context.Context, self *proc.Child) error {
	e, err := pipe.OpenOrCreate(self.Domain(), "wire", nil)
	if err != nil {
		return err
	}
	defer e.Close()
	for {
		b, err := e.Recv(ctx, nil)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Printf("收到了 %s\n", b)
	}
}

// bot is the child process of a bot host: it receives in both ways.
func bot(ctx context.Context, self *proc.Child) error {
	passive, err := self.Passive()
	if err != nil {
		return err
	}
	text := func(v any) bool { _, ok := v.(string); return ok }
	if _, err := passive.OnReceive(func(_ context.Context, v any) { fmt.Println("Passive receive:", v) }, text); err != nil {
		return err
	}
	active, err := self.Active()
	if err != nil {
		return err
	}
	if err := self.Ready(); err != nil {
		return err
	}
	for {
		v, err := active.Receive(ctx)
		if err != nil {
			return err
		}
		if v == "crash" {
			panic("as told")
		}
		fmt.Println("Active receive:", v)
		if err := active.Send(ctx, fmt.Sprint("got ", v)); err != nil {
			return err
		}
	}
}

func TestBotHost(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "nonebot", Func: "bot", Ready: proc.ReadyWord, Restart: proc.OnFailure, Backoff: proc.Backoff{First: time.Millisecond}})
	active, err := b.Active("nonebot")
	ok(t, err)
	passive, err := b.Passive("nonebot")
	ok(t, err)
	ctx := limit(t)
	ok(t, passive.Send(ctx, "sent before it starts"))
	ok(t, b.StartAll(ctx))
	b.hear("nonebot | Passive receive: sent before it starts")
	ok(t, passive.Send(ctx, 42)) // no text: filtered out
	ok(t, passive.Send(ctx, "I am liteyuki main process passive"))
	ok(t, active.Send(ctx, "I am liteyuki main process active"))
	b.hear("nonebot | Passive receive: I am liteyuki main process passive")
	b.hear("nonebot | Active receive: I am liteyuki main process active")
	v, err := active.Receive(ctx)
	ok(t, err)
	if v != "got I am liteyuki main process active" {
		t.Errorf("%v", v)
	}
	// Killed and restarted, it goes on with the same channels.
	ok(t, active.Send(ctx, "crash"))
	b.see("nonebot", proc.EventReady, 2)
	ok(t, active.Send(ctx, "again"))
	b.hear("nonebot | Active receive: again")
	const received = "Passive receive: " // and no number
	var texts []string
	for _, line := range b.heard("nonebot") { // a panic's stack, too
		if text, found := strings.CutPrefix(line, received); found {
			texts = append(texts, text)
		}
	}
	if want := []string{"sent before it starts", "I am liteyuki main process passive"}; !slices.Equal(texts,
		want) {
		t.Errorf("it received %q", texts)
	}
	_, err = b.Active("nobody")
	is(t, err, shiplap.ErrNotExist)
	// The names are taken, for other managers of the domain, too.
	other, err := proc.New(b.d, &proc.Options{Name: "other", Output: io.Discard})
	ok(t, err)
	defer other.Close()
	is(t, other.Add(proc.Spec{Name: "nonebot", Func: "bot"}), shiplap.ErrExist)
	ok(t, other.Add(proc.Spec{Name: "nonebot", Func: "bot", ChannelCapacity: -1}))
	_, err = other.Passive("nonebot")
	is(t, err, shiplap.ErrNotExist)
	ok(t, other.StartAll(ctx))
	is(t, other.Wait(ctx), proc.ErrFailed) // it has no channels
}

func TestEvents(t *testing.T) {
	b := manage(t, nil)
	events, err := proc.Events(b.d, "")
	ok(t, err)
	defer events.Close()
	sub, err := events.Subscribe(nil)
	ok(t, err)
	defer sub.Close()
	b.add(proc.Spec{Name: "x", Command: sh("exit 3")})
	ok(t, b.StartAll(bg))
	is(t, b.Wait(limit(t)), proc.ErrFailed)
	var got []proc.EventKind
	for e, err := range sub.All(limit(t)) {
		ok(t, err)
		got = append(got, e.Kind)
		if e.Manager != "main" || e.Process != "x" || e.Time.IsZero() || (e.Kind == proc.EventExited) != (e.Exit != nil && e.Exit.Code == 3) {
			t.Errorf("%v", e)
		}
		if e.Kind == proc.EventFailed {
			break
		}
	}
	if !slices.Equal(got, []proc.EventKind{proc.EventStarting, proc.EventReady, proc.EventExited, proc.EventFailed}) {
		t.Errorf("%q", got)
	}
}

func TestProducerConsumer(t *testing.T) {
	want := []string{"收到了 0", "收到了 1", "收到了 2", "收到了 3", "收到了 4"}
	b := manage(t, nil)
	b.add(proc.Spec{Name: "p", Func: "produce"}, proc.Spec{Name: "c", Func: "consume"},
		proc.Spec{Name: "pp", Func: "pipe-produce"}, proc.Spec{Name: "pc", Func: "pipe-consume"})
	ok(t, b.StartAll(bg))
	ok(t, b.Wait(limit(t)))
	for _, name := range []string{"c", "pc"} {
		if got := b.heard(name); !slices.Equal(got, want) {
			t.Errorf("%s printed %q", name, got)
		}
	}
	ok(t, b.d.Remove(bg, "numbers"))
}

func TestFunction(t *testing.T) {
	global = "set by the parent"
	b := manage(t, &proc.Options{Name: "host"})
	b.add(proc.Spec{Name: "h", Func: "hello", Args: []string{"-test.v", "b c"}})
	ok(t, b.StartAll(bg))
	ok(t, b.Wait(limit(t)))
	if got, want := b.heard("h"), []string{"h host [-test.v b c] TestFunction as compiled"}; !slices.Equal(got, want) {
		t.Errorf("it printed %q, not %q", got, want)
	}
	if s := b.state("h"); s.Phase != proc.Done || s.Last == nil || !s.Last.OK() || s.Lines != 1 {
		t.Errorf("%v", s)
	}
}
