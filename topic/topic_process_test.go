package topic_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/topic"
)

// roundOf is how long the random rounds last.
func roundOf(t *testing.T) time.Duration {
	if testing.Short() {
		return 500 * time.Millisecond
	}
	return 3 * time.Second
}

// TestKillsAtRandom: publishers, subscribers and those who come and go are killed and replaced. Each subscriber that
// lives gets every reported message of its time once, in each publisher's order; at most one that was not reported of
// each publisher that was killed.
func TestKillsAtRandom(t *testing.T) {
	d, r := raw(t, &topic.Options{Capacity: 1 << 14, Subscribers: 32})
	type worker struct {
		role   string
		p      *peertest.Peer
		serial int
	}
	serial := 0
	hire := func(role string) *worker {
		serial++
		return &worker{role, peertest.Start(t, d, role, serial), serial}
	}
	var steady []*worker // they live from the first message to the last
	for range 3 {
		w := hire("receive")
		w.p.Says("here")
		steady = append(steady, w)
	}
	var workers, ended []*worker
	for _, role := range []string{"publish", "publish", "publish", "receive", "receive", "come and go"} {
		workers = append(workers, hire(role))
	}
	killed := map[string]int{}
	for end := time.Now().Add(roundOf(t)); time.Now().Before(end); {
		time.Sleep(time.Duration(5+rand.IntN(40)) * time.Millisecond)
		i := rand.IntN(len(workers))
		w := workers[i]
		w.p.Kill()
		killed[w.role]++
		ended = append(ended, w)
		workers[i] = hire(w.role)
	}
	finish := func(w *worker) {
		stuck := time.AfterFunc(20*time.Second, func() { t.Errorf("%s does not end", w.role); w.p.Signal(syscall.SIGKILL) })
		defer stuck.Stop()
		if err := w.p.Wait(); err != nil {
			t.Error(err)
		}
	}
	for _, w := range workers {
		w.p.CloseStdin()
		if w.role == "publish" {
			finish(w)
		}
	}
	ok(t, r.CloseTopic())
	for _, w := range append(workers, steady...) {
		if w.role != "publish" {
			finish(w)
		}
	}
	reported, count := map[int]int{}, 0 // the last of each publisher
	for _, w := range append(ended, workers...) {
		if n := w.p.Numbers(); w.role == "publish" {
			reported[w.serial] = len(n)
			count += len(n)
		}
	}
	check := func(w *worker, whole bool) {
		next := map[int]int{}
		for _, n := range w.p.Numbers() {
			by, i := n/1_000_000, n%1_000_000
			if at, seen := next[by]; seen && i != at || whole && !seen && i != 0 {
				t.Fatalf("%s %d: message %d of publisher %d, %d is next", w.role, w.serial, i, by, at)
			}
			next[by] = i + 1
		}
		for by, n := range reported {
			if got := next[by]; whole && got != n && got != n+1 {
				t.Errorf("%s %d: %d messages of publisher %d, which reported %d", w.role, w.serial, got, by, n)
			}
		}
	}
	for _, w := range steady {
		check(w, true)
	}
	for _, w := range append(ended, workers...) {
		if w.role == "receive" {
			check(w, false)
		}
	}
	t.Logf("%d messages of %d publishers; killed: %v", count, len(reported), killed)
	if count < 100 {
		t.Errorf("only %d messages", count)
	}
}

// TestOverwriteUnderLoad: however fast publishers are, what a subscriber got and what it missed add up.
func TestOverwriteUnderLoad(t *testing.T) {
	d, r := raw(t, &topic.Options{Capacity: 1 << 14, Policy: topic.Overwrite})
	var subs []*peertest.Peer
	for range 2 {
		p := peertest.Start(t, d, "receive", 0)
		p.Says("here")
		subs = append(subs, p)
	}
	guest := peertest.Start(t, d, "come and go", 1)
	guest.Says("here")
	n := 0
	for end := time.Now().Add(roundOf(t) / 3); time.Now().Before(end); n++ {
		ok(t, r.Publish(bg, message(n, 16+n%200)))
	}
	ok(t, r.CloseTopic())
	for _, p := range subs {
		p.Says(fmt.Sprint(n))
		ok(t, p.Wait())
	}
	guest.CloseStdin()
	ok(t, guest.Wait())
	t.Logf("%d messages", n)
}

// TestStoppedAndDead: a stopped subscriber blocks, and is named; killed, it does not.
func TestStoppedAndDead(t *testing.T) {
	d, r := raw(t, &topic.Options{Capacity: 4096})
	p := peertest.Start(t, d, "subscribe", 1)
	p.Says("here")
	ok(t, r.Publish(bg, message(0, 64)))
	p.Says("received")
	p.Stop()
	n := 1
	for ; ; n++ {
		if err := r.TryPublish(message(n, 64)); err == shiplap.ErrFull {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n < 45 || n > 55 {
		t.Errorf("full with %d messages of 80 bytes in 4096", n)
	}
	st, err := r.Stats()
	ok(t, err)
	if s := st.Slowest; s == nil || s.Pid != p.Pid() || !s.Alive || int(s.Lag) != n-1 || int(s.LagBytes) != 80*(n-1) || s.Received != 1 {
		t.Errorf("%d published, pid %d: %+v, %+v", n, p.Pid(), st, st.Slowest)
	}
	ctx, cancel := context.WithTimeout(bg, 300*time.Millisecond)
	defer cancel()
	is(t, "past a stopped subscriber", r.Publish(ctx, message(n, 64)), context.DeadlineExceeded)
	got := make(chan error)
	go func() { got <- r.Publish(soon(t), message(n, 64)) }()
	if !eventually(func() bool { now, err := r.Stats(); ok(t, err); return now.PublishWaits > st.PublishWaits+1 }) {
		t.Fatal("it does not wait")
	}
	p.Signal(syscall.SIGKILL)
	ok(t, <-got)
	for range 200 {
		n++
		ok(t, r.TryPublish(message(n, 64)))
	}
	if st, err := r.Stats(); err != nil || len(st.Subscribers) != 0 || st.Slowest != nil {
		t.Errorf("%+v (%v)", st, err)
	}
}

// TestStoppedGoesOn: what was published while it was stopped is all there.
func TestStoppedGoesOn(t *testing.T) {
	d, r := raw(t, &topic.Options{Capacity: 4096})
	p := peertest.Start(t, d, "subscribe", 0)
	p.Says("here")
	p.Says("received")
	p.Stop()
	n := 0
	for r.TryPublish(message(n, 64)) == nil {
		n++
	}
	p.Signal(syscall.SIGCONT)
	p.CloseStdin()
	for ; n < 500; n++ {
		ok(t, r.Publish(soon(t), message(n, 64)))
	}
	ok(t, r.CloseTopic())
	ok(t, p.Wait())
	for i, k := range p.Numbers() {
		if i != k {
			t.Fatalf("message %d comes as number %d", k, i)
		}
	}
	if len(p.Numbers()) != n {
		t.Errorf("%d of %d", len(p.Numbers()), n)
	}
}

// TestDeadPublisher: the side of a killed publisher passes on, that of a stopped one does not.
func TestDeadPublisher(t *testing.T) {
	d, r := raw(t, nil)
	s := subscribe(t, r, 0)
	p := peertest.Start(t, d, "hold", 0)
	p.Says("holding")
	p.Stop()
	is(t, "while it is stopped", r.TryPublish(nil), shiplap.ErrBusy)
	locks, err := d.Locks("t")
	ok(t, err)
	if len(locks) != 1 || locks[0].Lock != "publisher" || locks[0].Holder == nil || locks[0].Holder.Pid != p.Pid() {
		t.Errorf("%+v", locks)
	}
	got := make(chan error)
	go func() { got <- r.Publish(soon(t), message(2, 100)) }()
	p.Kill()
	ok(t, <-got)
	for i := 1; i <= 2; i++ {
		b, err := s.Receive(soon(t), nil)
		ok(t, err)
		if k, err := number(b); err != nil || k != i {
			t.Errorf("message %d (%v), %d is wanted", k, err, i)
		}
	}
}

// TestDamagedFiles: what cannot be opened says why.
func TestDamagedFiles(t *testing.T) {
	u32 := func(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
	at := func(b []byte, off int64) func(f *os.File) error {
		return func(f *os.File) error { _, err := f.WriteAt(b, off); return err }
	}
	for _, c := range []struct {
		name string
		harm func(f *os.File) error
		want error
	}{
		{"kind", at(u32(1), 12), shiplap.ErrIncompatible},
		{"hash of the descriptor", at(u32(1), 48), shiplap.ErrCorrupt},
		{"area not a power of two", at(u32(5000), 64), shiplap.ErrCorrupt},
		{"area larger than the file", at(u32(1<<20), 64), shiplap.ErrCorrupt},
		{"unknown policy", at(u32(9), 72), shiplap.ErrIncompatible},
		{"slots", at(u32(33), 80), shiplap.ErrCorrupt},
		{"no slots", at(u32(0), 80), shiplap.ErrCorrupt},
		{"too many slots", at(u32(1<<30), 80), shiplap.ErrCorrupt},
		{"more slots than there is room", at(u32(64), 80), shiplap.ErrCorrupt},
		{"truncated", func(f *os.File) error { return f.Truncate(8192) }, shiplap.ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := domain(t)
			tp, err := topic.Create[int64](d, "t", &topic.Options{Capacity: 4096, Subscribers: 1})
			ok(t, err)
			ok(t, tp.Close())
			f, err := os.OpenFile(filepath.Join(d.Dir(), "t"), os.O_RDWR, 0)
			ok(t, err)
			defer f.Close()
			ok(t, c.harm(f))
			tp, err = topic.Open[int64](d, "t", nil)
			is(t, "open", err, c.want)
			if err == nil {
				tp.Close()
			}
			ok(t, d.Remove(bg, "t"))
		})
	}
}

// TestTruncatedUnderUse: publishers and subscribers of a file that somebody truncates get ErrCorrupt.
func TestTruncatedUnderUse(t *testing.T) {
	if !mem.FaultsPanic {
		t.Skip("the race detector does atomic operations in C, where a fault ends the process")
	}
	for _, policy := range []topic.Policy{topic.Block, topic.Overwrite} {
		d, r := raw(t, &topic.Options{Capacity: 1 << 16, Policy: policy})
		s := subscribe(t, r, 0)
		got := make(chan error, 2)
		go func() {
			for {
				if err := r.Publish(soon(t), message(1, 1000)); err != nil {
					got <- err
					return
				}
			}
		}()
		go func() {
			for {
				if _, err := s.Receive(soon(t), nil); err != nil && !errors.As(err, new(topic.ErrLagged)) {
					got <- err
					return
				}
			}
		}()
		if !eventually(func() bool { st, err := r.Stats(); ok(t, err); return st.Published > 200 }) {
			t.Fatal("nothing is published")
		}
		ok(t, os.Truncate(filepath.Join(d.Dir(), "t"), 4096))
		for range 2 {
			is(t, "truncated", <-got, shiplap.ErrCorrupt)
		}
		_ = s.Close()
		is(t, "closed", r.Close(), nil)
	}
}

// TestScribbler: beside a process that writes nonsense everywhere, calls fail or succeed, and end.
func TestScribbler(t *testing.T) {
	for _, policy := range []topic.Policy{topic.Block, topic.Overwrite} {
		d, r := raw(t, &topic.Options{Capacity: 4096, Policy: policy, Subscribers: 4})
		p := peertest.Start(t, d, "scribble", int(roundOf(t)/time.Millisecond)/4)
		p.Says("going")
		stop := make(chan struct{})
		ended := make(chan struct{}, 3)
		for k := range 3 {
			go func() {
				defer func() { ended <- struct{}{} }()
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					ctx, cancel := context.WithTimeout(bg, time.Millisecond)
					if k == 0 {
						_ = r.Publish(ctx, message(i, 8+i%500))
						_, _ = r.Stats()
					} else if s, err := r.Subscribe(&topic.SubOptions{Last: i % 5}); err == nil {
						for range 10 {
							_, _ = s.Receive(ctx, nil)
							_, _, _ = s.Lag()
						}
						_ = s.Close()
					}
					cancel()
				}
			}()
		}
		ok(t, p.Wait())
		close(stop)
		for range 3 {
			select {
			case <-ended:
			case <-time.After(20 * time.Second):
				panic("no end")
			}
		}
	}
}
