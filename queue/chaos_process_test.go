package queue_test

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/queue"
)

// roundOf is how long the random rounds last.
func roundOf(t *testing.T) time.Duration {
	if testing.Short() {
		return 500 * time.Millisecond
	}
	return 3 * time.Second
}

// chaos runs producers and consumers, kills some of them again and again, and returns what was put, and taken.
func chaos(t *testing.T, d *shiplap.Domain, q *queue.Raw, consume string) (put []int, took []int, killed map[string]int, inFlight int) {
	t.Helper()
	killed = map[string]int{}
	type worker struct {
		role string
		p    *peertest.Peer
	}
	var workers []*worker
	var ended []*worker
	serial := 0
	hire := func(role string) *worker {
		serial++
		return &worker{role, peertest.Start(t, d, role, serial)}
	}
	for _, role := range []string{"put", "put", "put", consume, consume, consume} {
		workers = append(workers, hire(role))
	}
	for end := time.Now().Add(roundOf(t)); time.Now().Before(end); {
		time.Sleep(time.Duration(5+rand.IntN(40)) * time.Millisecond)
		i := rand.IntN(len(workers))
		w := workers[i]
		w.p.Kill()
		killed[w.role]++
		ended = append(ended, w)
		workers[i] = hire(w.role)
	}
	for _, w := range workers { // producers end, then the queue, then consumers drain
		if w.role == "put" {
			w.p.CloseStdin()
			if err := w.p.Wait(); err != nil {
				t.Error(err)
			}
		}
	}
	ok(t, q.CloseQueue())
	for _, w := range workers {
		if w.role != "put" {
			stuck := time.AfterFunc(20*time.Second, func() { t.Error("a consumer does not end"); w.p.Signal(syscall.SIGKILL) })
			if err := w.p.Wait(); err != nil {
				t.Error(err)
			}
			stuck.Stop()
		}
	}
	for _, w := range append(ended, workers...) {
		if w.role == "put" {
			put = append(put, w.p.Numbers()...)
		} else {
			took = append(took, w.p.Numbers()...)
		}
	}
	return put, took, killed, len(workers)
}

// TestKillsAtRandom: everything reported as put arrives once; only what a killed consumer held may be missing, and
// only what a killed producer was about to report may be more.
func TestKillsAtRandom(t *testing.T) {
	d, q := raw(t, &queue.Options{Capacity: 1 << 14})
	put, took, killed, _ := chaos(t, d, q, "get")
	count := map[int]int{}
	for _, i := range took {
		if count[i]++; count[i] > 1 {
			t.Errorf("message %d came twice", i)
		}
	}
	missing := 0
	for _, i := range put {
		if count[i] == 0 {
			missing++
		}
		delete(count, i)
	}
	t.Logf("%d put, %d taken, %d missing, %d unreported; killed: %v", len(put), len(took), missing, len(count), killed)
	if missing > killed["get"] || len(count) > killed["put"] {
		t.Errorf("%d are missing, %d consumers were killed; %d were not reported, %d producers were killed",
			missing, killed["get"], len(count), killed["put"])
	}
	if len(put) < 100 {
		t.Errorf("only %d messages", len(put))
	}
}

// TestKillsAtRandomAck: everything reported as put arrives; twice only what a killed consumer had.
func TestKillsAtRandomAck(t *testing.T) {
	d, q := raw(t, &queue.Options{Capacity: 1 << 14, Ack: true})
	put, took, killed, _ := chaos(t, d, q, "receive")
	count := map[int]int{}
	again := 0
	for _, i := range took {
		if count[i]++; count[i] > 1 {
			again++
		}
	}
	missing := 0
	for _, i := range put {
		if count[i] == 0 {
			missing++
		}
		delete(count, i)
	}
	t.Logf("%d put, %d taken, %d of them again, %d missing, %d unreported; killed: %v", len(put), len(took), again, missing, len(count), killed)
	if missing > 0 || again > killed["receive"] || len(count) > killed["put"] {
		t.Errorf("%d are missing, %d came again, %d were not reported; killed: %v", missing, again, len(count), killed)
	}
	st, err := q.Stats()
	if err != nil || st.Depth != 0 || st.Used != 0 {
		t.Errorf("all acknowledged: %+v (%v)", st, err)
	}
}
