package bell_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/queue"
	"github.com/shiplap-ipc/shiplap/topic"
)

const (
	queues      = 4 // on each of which hands of each process wait
	hands       = 3
	subscribers = 2 // of each process
)

// answer passes on what comes by the queues and the topic, to "answers".
func answer(d *shiplap.Domain, _ order) error {
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	var all sync.WaitGroup
	defer all.Wait()
	failed := make(chan error, queues*hands+subscribers)
	answers, err := queue.OpenRaw(d, "answers", nil)
	if err != nil {
		return err
	}
	defer answers.Close()
	pass := func(receive func(context.Context, []byte) ([]byte, error)) {
		all.Go(func() {
			msg, err := receive(ctx, nil)
			for err == nil {
				if err = answers.Put(ctx, msg); err == nil {
					msg, err = receive(ctx, msg[:0])
				}
			}
			failed <- err
		})
	}
	for i := range queues {
		q, err := queue.OpenRaw(d, queueName(i), &queue.Options{Wait: shiplap.WaitSleep})
		if err != nil {
			return err
		}
		defer q.Close()
		for range hands {
			pass(q.Get)
		}
	}
	news, err := topic.OpenRaw(d, "news", &topic.Options{Wait: shiplap.WaitSleep})
	if err != nil {
		return err
	}
	defer news.Close()
	for range subscribers {
		s, err := news.Subscribe(nil)
		if err != nil {
			return err
		}
		defer s.Close()
		pass(s.Receive)
	}
	peertest.Say("ready")
	<-peertest.StdinEnds()
	cancel()
	all.Wait()
	for range cap(failed) {
		if err := <-failed; !errors.Is(err, context.Canceled) {
			return err
		}
	}
	peertest.Say("rescues", rescues.Load())
	return nil
}

func queueName(i int) string { return fmt.Sprint("q", i) }

// TestTraffic: every message wakes somebody who takes it, in other processes that are asleep, of which one is killed now
// and then: its entries stay, and wake-ups pass over them. The lookouts of those who live have nothing to do.
func TestTraffic(t *testing.T) {
	const processes, rounds, between = 3, 1600, 100
	d := join(t)
	var to [queues]*queue.Raw
	for i := range to {
		var err error
		to[i], err = queue.CreateRaw(d, queueName(i), nil)
		ok(t, err)
		defer to[i].Close()
	}
	answers, err := queue.CreateRaw(d, "answers", &queue.Options{Wait: shiplap.WaitSleep})
	ok(t, err)
	defer answers.Close()
	news, err := topic.CreateRaw(d, "news", nil)
	ok(t, err)
	defer news.Close()
	begin := func() *peertest.Peer {
		p := peertest.Start(t, d, "answer", order{})
		p.Says("ready")
		return p
	}
	var peers [processes]*peertest.Peer
	for i := range peers {
		peers[i] = begin()
	}
	ctx, cancel := context.WithTimeout(bg, time.Minute) // against hangs
	defer cancel()
	answered := func(msg []byte, times int) {
		t.Helper()
		for range times {
			got, err := answers.Get(ctx, nil)
			if ok(t, err); !bytes.Equal(got, msg) {
				t.Fatalf("the answer is %q, want %q", got, msg)
			}
		}
	}
	before := rescues.Load()
	for i := range rounds {
		msg := strconv.AppendInt(nil, int64(i), 10)
		ok(t, to[i%queues].Put(ctx, msg))
		answered(msg, 1)
		if i%5 == 0 {
			ok(t, news.Publish(ctx, msg))
			answered(msg, processes*subscribers)
		}
		if i%between == between/2 { // until it is replaced, its entries are in the way of the others
			peers[i/between%processes].Kill()
			for j := range 2 * queues {
				ok(t, to[j%queues].Put(ctx, msg))
				answered(msg, 1)
			}
			peers[i/between%processes] = begin()
		}
	}
	all := rescues.Load() - before
	for _, p := range peers {
		p.CloseStdin()
		n, err := strconv.ParseInt(p.Reports("rescues"), 10, 64)
		ok(t, err)
		all += n
		p.Ends()
	}
	// A lookout may come just between a message and its ring, and a process may be killed just before it passes a
	// wake-up on.
	if t.Logf("%d rescues", all); all > rounds/between {
		t.Errorf("%d wake-ups by the lookout in %d rounds", all, rounds)
	}
}
