package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
	"github.com/shiplap-ipc/shiplap/rpc"
	"github.com/shiplap-ipc/shiplap/store"
	"github.com/shiplap-ipc/shiplap/topic"
)

// What Crew and its workers agree on.
const (
	crewDomain = "crew"
	storeName  = "store"
	storeKeys  = 100_000
	storeValue = 64
	storeKey   = 16
	storeLead  = time.Millisecond      // from the order to the beginning
	storeWarm  = 80 * time.Millisecond // until the caches hold what they held last time
	storeSlice = 25 * time.Millisecond

	heardStore = "heard.store"
	heardQueue = "heard.queue"
	heardKey   = "key"
	heardTimes = 300
	heardEvery = 20 * time.Microsecond

	topicName     = "topic"
	topicMessages = 200_000

	tripTimes = 500
	rpcMethod = "increment"
)

var tripModes = [2]shiplap.WaitMode{shiplap.WaitAdaptive, shiplap.WaitSleep}

func tripQueues(mode shiplap.WaitMode) [2]string {
	return [2]string{"there." + mode.String(), "back." + mode.String()}
}

func rpcService(mode shiplap.WaitMode) string { return "service." + mode.String() }

// storeNames are all keys, one behind the other.
func storeNames() string {
	var b strings.Builder
	for i := range storeKeys {
		fmt.Fprintf(&b, "k%0*d", storeKey-1, i)
	}
	return b.String()
}

func nameAt(names string, i int) string { return names[i*storeKey:][:storeKey] }

// worker is a process of a crew. It does what it is told, one order a line, and answers each with a number; receivers say
// 0 before that, when they are ready.
type worker struct {
	d      *shiplap.Domain
	s      *store.Store
	keys   string // see storeNames
	seed   uint32
	client map[shiplap.WaitMode]*rpc.Client
	server []*rpc.Server
}

// orders that run on the thread that was bound, and those that leave it to the scheduler where they run.
var (
	boundOrders = map[string]func(w *worker, number int64) (uint64, error){
		"bind": (*worker).bind, "bind all": (*worker).bindAll, "get": (*worker).get, "set": (*worker).set,
		"put": (*worker).put, "take": (*worker).take, "touch": (*worker).touch, "watch": (*worker).watch,
	}
	freeOrders = map[string]func(w *worker, number int64) (uint64, error){
		"publish": (*worker).publish, "subscribe": (*worker).subscribe,
		"serve": (*worker).serve, "echo": (*worker).echo, "trip": (*worker).trip, "call": (*worker).call,
	}
)

// work is a worker's life.
func work(base string) (err error) {
	w := &worker{seed: uint32(os.Getpid()), client: map[shiplap.WaitMode]*rpc.Client{}}
	if w.d, err = shiplap.Join(crewDomain, &shiplap.Options{Dir: base}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	runtime.LockOSThread()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		at := strings.LastIndexByte(in.Text(), ' ')
		order, number := in.Text()[:max(at, 0)], in.Text()[at+1:]
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return err
		}
		var answer uint64
		if f := boundOrders[order]; f != nil {
			answer, err = f(w, n)
		} else if f := freeOrders[order]; f != nil {
			done := make(chan struct{})
			go func() {
				defer close(done)
				answer, err = f(w, n)
			}()
			<-done
		} else {
			err = errors.New("no such order")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", order, err)
		}
		if err := say(answer); err != nil {
			return err
		}
	}
	return nil
}

func say(answer uint64) error {
	_, err := fmt.Println(answer)
	return err
}

func (w *worker) close() (err error) {
	for _, c := range w.client {
		err = errors.Join(err, c.Close())
	}
	for _, s := range w.server {
		err = errors.Join(err, s.Close())
	}
	if w.s != nil {
		err = errors.Join(err, w.s.Close())
	}
	return errors.Join(err, w.d.Close())
}

func (w *worker) bind(cpu int64) (uint64, error) {
	bind(int(cpu))
	return 0, nil
}

// bindAll binds all threads, those included that they will start.
func (w *worker) bindAll(cpu int64) (uint64, error) {
	const tasks = "/proc/self/task"
	entries, err := os.ReadDir(tasks)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		tid, err := strconv.Atoi(e.Name())
		if err != nil {
			return 0, fmt.Errorf("%s: %w", tasks, err)
		}
		bindThread(tid, int(cpu))
	}
	return 0, nil
}

func (w *worker) get(start int64) (uint64, error) {
	buf := make([]byte, 0, storeValue)
	return w.rate(start, func(key string) (err error) {
		buf, err = w.s.Append(buf[:0], key)
		return err
	})
}

func (w *worker) set(start int64) (uint64, error) {
	buf := make([]byte, storeValue)
	return w.rate(start, func(key string) error {
		_, err := w.s.Set(background, key, buf)
		return err
	})
}

// rate is how often f runs in a second, from a moment on; 0 says that it could not begin then.
func (w *worker) rate(start int64, f func(key string) error) (n uint64, err error) {
	if w.s == nil {
		if w.s, err = store.Open(w.d, storeName, nil); err != nil {
			return 0, err
		}
		w.keys = storeNames()
		return 0, nil // that took its time
	}
	for time.Now().UnixNano() < start {
	}
	until := func(end time.Time) (n uint64, err error) {
		for ; n%32 != 0 || time.Now().Before(end); n++ {
			w.seed = w.seed*1664525 + 1013904223 // an order that prefetching does not guess
			if err := f(nameAt(w.keys, int(uint64(w.seed)*storeKeys>>32))); err != nil {
				return 0, err
			}
		}
		return n, nil
	}
	from := time.Unix(0, start).Add(storeWarm)
	if _, err := until(from); err != nil {
		return 0, err
	}
	begun := time.Now()
	if begun.Sub(from) > storeSlice/20 {
		return 0, nil
	}
	n, err = until(begun.Add(storeSlice))
	return uint64(float64(n) / time.Since(begun).Seconds()), err
}

// stamped calls send some times, with the time as the message, and so far apart that the other side has it before the next one comes.
func stamped(times int64, send func(b []byte) error) (uint64, error) {
	b := make([]byte, 16)
	for i := range times {
		for at := time.Now(); time.Since(at) < heardEvery; {
		}
		binary.LittleEndian.PutUint64(b[8:], uint64(i))
		binary.LittleEndian.PutUint64(b, uint64(time.Now().UnixNano()))
		if err := send(b); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// heard takes down how old messages are.
type heard struct {
	times int64
	ages  []int64
}

// add reports whether it was the last one.
func (h *heard) add(b []byte) (bool, error) {
	now := time.Now().UnixNano()
	if len(b) != 16 {
		return false, fmt.Errorf("a message of %d bytes", len(b))
	}
	h.ages = append(h.ages, now-int64(binary.LittleEndian.Uint64(b)))
	return int64(binary.LittleEndian.Uint64(b[8:])) == h.times-1, nil
}

func median(v []int64) uint64 {
	slices.Sort(v)
	return uint64(max(v[len(v)/2], 0))
}

func (w *worker) put(times int64) (uint64, error) {
	q, err := queue.OpenRaw(w.d, heardQueue, nil)
	if err != nil {
		return 0, err
	}
	defer q.Close()
	p, err := q.Producer(background)
	if err != nil {
		return 0, err
	}
	return stamped(times, func(b []byte) error { return p.Put(background, b) })
}

func (w *worker) take(times int64) (uint64, error) {
	q, err := queue.OpenRaw(w.d, heardQueue, &queue.Options{Wait: shiplap.WaitSpin})
	if err != nil {
		return 0, err
	}
	defer q.Close()
	c, err := q.Consumer(background)
	if err != nil {
		return 0, err
	}
	if err := say(0); err != nil {
		return 0, err
	}
	h := &heard{times: times}
	for b, last := []byte(nil), false; !last; {
		if b, err = c.Get(background, b[:0]); err != nil {
			return 0, err
		}
		if last, err = h.add(b); err != nil {
			return 0, err
		}
	}
	return median(h.ages), nil
}

func (w *worker) touch(times int64) (uint64, error) {
	s, err := store.Open(w.d, heardStore, nil)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	return stamped(times, func(b []byte) error {
		_, err := s.Set(background, heardKey, b)
		return err
	})
}

func (w *worker) watch(times int64) (uint64, error) {
	s, err := store.Open(w.d, heardStore, &store.Options{Wait: shiplap.WaitSpin})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	changes := s.Watch(background, heardKey, nil)
	if err := say(0); err != nil {
		return 0, err
	}
	h := &heard{times: times}
	for e, err := range changes {
		if err != nil {
			return 0, err
		}
		last, err := h.add(e.Value)
		if err != nil {
			return 0, err
		}
		if last {
			break
		}
	}
	return median(h.ages), nil
}

func (w *worker) publish(n int64) (uint64, error) {
	t, err := topic.OpenRaw(w.d, topicName, nil)
	if err != nil {
		return 0, err
	}
	defer t.Close()
	p, err := t.Publisher(background)
	if err != nil {
		return 0, err
	}
	b := make([]byte, 64)
	for range n {
		if err := p.Publish(background, b); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// subscribe answers how many messages came in a second.
func (w *worker) subscribe(n int64) (uint64, error) {
	t, err := topic.OpenRaw(w.d, topicName, nil)
	if err != nil {
		return 0, err
	}
	defer t.Close()
	s, err := t.Subscribe(nil)
	if err != nil {
		return 0, err
	}
	if err := say(0); err != nil {
		return 0, err
	}
	b, err := s.Receive(background, nil)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	for range n - 1 {
		if b, err = s.Receive(background, b[:0]); err != nil {
			return 0, err
		}
	}
	return uint64(float64(n-1) / time.Since(start).Seconds()), nil
}

func (w *worker) serve(number int64) (uint64, error) {
	mode := shiplap.WaitMode(number)
	s, err := rpc.Serve(background, w.d, rpcService(mode), &rpc.Options{Wait: mode, Setup: func(s *rpc.Server) error {
		return rpc.Handle(s, rpcMethod, func(_ context.Context, n int64) (int64, error) { return n + 1, nil })
	}})
	w.server = append(w.server, s)
	return 0, err
}

func (w *worker) call(number int64) (uint64, error) {
	mode := shiplap.WaitMode(number)
	c := w.client[mode]
	if c == nil {
		var err error
		if c, err = rpc.Dial(background, w.d, rpcService(mode), &rpc.Options{Wait: mode}); err != nil {
			return 0, err
		}
		w.client[mode] = c
	}
	return timesOf(func(i int64) error {
		got, err := rpc.Call[int64, int64](background, c, rpcMethod, i)
		if err == nil && got != i+1 {
			err = fmt.Errorf("%d is answered by %d", i, got)
		}
		return err
	})
}

// timesOf is the median of what a call of f takes.
func timesOf(f func(i int64) error) (uint64, error) {
	const warm = tripTimes / 10
	all := make([]int64, 0, tripTimes)
	for i := range int64(tripTimes) {
		start := time.Now()
		if err := f(i); err != nil {
			return 0, err
		}
		if i >= warm {
			all = append(all, int64(time.Since(start)))
		}
	}
	return median(all), nil
}

func (w *worker) trip(number int64) (uint64, error) {
	return w.throughQueues(number, 0, func(p *queue.RawProducer, c *queue.RawConsumer) (uint64, error) {
		b := make([]byte, 8)
		return timesOf(func(int64) (err error) {
			if err = p.Put(background, b); err == nil {
				b, err = c.Get(background, b[:0])
			}
			return err
		})
	})
}

func (w *worker) echo(number int64) (uint64, error) {
	return w.throughQueues(number, 1, func(p *queue.RawProducer, c *queue.RawConsumer) (_ uint64, err error) {
		b := make([]byte, 8)
		for range tripTimes {
			if b, err = c.Get(background, b[:0]); err != nil {
				return 0, err
			}
			if err = p.Put(background, b); err != nil {
				return 0, err
			}
		}
		return 0, nil
	})
}

func (w *worker) throughQueues(number int64, side int, f func(p *queue.RawProducer, c *queue.RawConsumer) (uint64, error)) (uint64, error) {
	mode := shiplap.WaitMode(number)
	names := tripQueues(mode)
	out, err := queue.OpenRaw(w.d, names[side], &queue.Options{Wait: mode})
	if err != nil {
		return 0, err
	}
	defer out.Close()
	in, err := queue.OpenRaw(w.d, names[1-side], &queue.Options{Wait: mode})
	if err != nil {
		return 0, err
	}
	defer in.Close()
	p, err := out.Producer(background)
	if err != nil {
		return 0, err
	}
	c, err := in.Consumer(background)
	if err != nil {
		return 0, err
	}
	return f(p, c)
}
