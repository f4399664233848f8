package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/proc"
	"github.com/shiplap-ipc/shiplap/queue"
	"github.com/shiplap-ipc/shiplap/store"
	"github.com/shiplap-ipc/shiplap/topic"
)

// Names of figures that goals refer to.
const (
	getOne     = "store get, one process"
	getTwo     = "store get, two processes"
	setOne     = "store set, one process"
	setTwo     = "store set, two processes"
	queueHears = "queue, from put to get, both awake"
	watchHears = "store, from set to watcher, both awake"
	watchAbove = "the watcher's above the queue's"
	topicOne   = "topic, 64 B, one subscriber"
	topicTwo   = "topic, 64 B, each of two subscribers"
	tripAwake  = "queue round trip, both awake"
	callAwake  = "rpc round trip, both awake"
	tripAsleep = "queue round trip, both sleeping"
	callAsleep = "rpc round trip, both sleeping"
	deathSeen  = "the death of a child is seen"
	childAgain = "the child runs again, with a back-off of 1 ns"
)

// crew measures, in several processes, the packages that stand on queues and beside them.
type crew struct {
	cfg     Config
	d       *shiplap.Domain
	workers []*player
	tally
}

// crewPart is measured in rounds, in each of which its figures take turns. What prepare returns undoes what it did, also where it
// failed.
type crewPart struct {
	name    string
	rounds  int
	prepare func(c *crew) (func() error, error)
	round   func(c *crew) error
}

var crewParts = []crewPart{
	{"store", 15, (*crew).loadStore, (*crew).storeRates},
	{"watch", 20, (*crew).makeHeard, (*crew).hear},
	{"topic", 10, (*crew).makeTopic, (*crew).topics},
	{"rpc", 20, (*crew).makeTrips, (*crew).trips},
}

const (
	procPart  = "proc"
	crewSize  = 3
	procTimes = 40
)

// CrewMeasures reports whether Crew has something to measure under these names.
func CrewMeasures(want *regexp.Regexp) bool {
	return want.MatchString(procPart) || slices.ContainsFunc(crewParts, func(p crewPart) bool { return want.MatchString(p.name) })
}

// Crew measures package store (and, under the name "watch", its watchers), topic, rpc and proc: those whose
// names match. The program must have called proc.Init.
func Crew(ctx context.Context, cfg Config, base string, want *regexp.Regexp) (_ []Result, err error) {
	c := &crew{cfg: cfg}
	if c.d, err = shiplap.Join(crewDomain, &shiplap.Options{Dir: base}); err != nil {
		return nil, err
	}
	defer c.d.Close()
	defer func() {
		for _, w := range c.workers {
			w.end(err != nil)
		}
	}()
	for range crewSize {
		w, err := startPlayer(ctx, cfg.Peer, envCrew, base)
		if err != nil {
			return nil, err
		}
		c.workers = append(c.workers, w)
	}
	for _, part := range crewParts {
		if !want.MatchString(part.name) {
			continue
		}
		if err := c.part(ctx, part); err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if want.MatchString(procPart) {
		if err := c.deaths(ctx, c.rounds(procTimes)); err != nil {
			return nil, fmt.Errorf("%s: %w", procPart, err)
		}
	}
	return c.results("store, topics, calls, processes"), nil
}

func (c *crew) rounds(n int) int { return max(int(float64(n)*c.cfg.Scale), 3) }

func (c *crew) part(ctx context.Context, p crewPart) error {
	done, err := p.prepare(c)
	if err != nil {
		return errors.Join(err, done())
	}
	rounds := c.rounds(p.rounds)
	for i := range rounds {
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), done())
		}
		if err := p.round(c); err != nil {
			return errors.Join(err, done())
		}
		c.cfg.Progress(p.name, i+1, rounds)
	}
	return done()
}

// ask lets workers do something at the same time and returns their answers.
func (c *crew) ask(order string, number int64, workers ...int) ([]uint64, error) {
	for _, w := range workers {
		if err := c.workers[w].tell(order, number); err != nil {
			return nil, err
		}
	}
	var all []uint64
	for _, w := range workers {
		v, err := c.workers[w].answer()
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// bind binds the workers' main threads ("bind") or all of them ("bind all"), to a processor each, -1 for any.
func (c *crew) bind(how string, cpus ...int) error {
	for w, cpu := range cpus {
		if _, err := c.ask(how, int64(cpu), w); err != nil {
			return err
		}
	}
	return nil
}

func nothing() error { return nil }

func (c *crew) loadStore() (func() error, error) {
	s, err := store.Create(c.d, storeName, &store.Options{Keys: storeKeys, Ephemeral: true})
	if err != nil {
		return nothing, err
	}
	value := make([]byte, storeValue)
	names := storeNames()
	for i := range storeKeys {
		if _, err := s.Set(background, nameAt(names, i), value); err != nil {
			return s.Close, err
		}
	}
	return s.Close, c.bind("bind", apart[0], apart[1])
}

// A rate needs all who take part at the same time: a window in which somebody could not begin in time is tried again.
const tries = 100

func (c *crew) storeRates() error {
	for _, f := range []struct {
		name, order string
		workers     []int
	}{{getOne, "get", []int{0}}, {getTwo, "get", []int{0, 1}}, {setOne, "set", []int{0}}, {setTwo, "set", []int{0, 1}}} {
		rate := uint64(0)
		for try := 0; rate == 0; try++ {
			if try == tries {
				return errors.New("the machine is so busy that processes do not begin in time")
			}
			v, err := c.ask(f.order, time.Now().Add(storeLead).UnixNano(), f.workers...)
			if err != nil {
				return err
			}
			if !slices.Contains(v, 0) {
				for _, r := range v {
					rate += r
				}
			}
		}
		c.add(f.name, "1/s", float64(rate))
	}
	return nil
}

func (c *crew) makeHeard() (func() error, error) {
	s, err := store.Create(c.d, heardStore, &store.Options{MaxBytes: 1 << 20, Ephemeral: true})
	if err != nil {
		return nothing, err
	}
	q, err := queue.CreateRaw(c.d, heardQueue, &queue.Options{Ephemeral: true})
	if err != nil {
		return s.Close, err
	}
	return func() error { return errors.Join(s.Close(), q.Close()) }, c.bind("bind", apart[0], apart[1])
}

// between lets workers 1 and up get ready to receive, then worker 0 send, and returns what the receivers say.
func (c *crew) between(send, receive string, number int64, receivers ...int) ([]uint64, error) {
	if _, err := c.ask(receive, number, receivers...); err != nil {
		return nil, err
	}
	if _, err := c.ask(send, number, 0); err != nil {
		return nil, err
	}
	var all []uint64
	for _, w := range receivers {
		v, err := c.workers[w].answer()
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

func (c *crew) hear() error {
	q, err := c.between("put", "take", heardTimes, 1)
	if err != nil {
		return err
	}
	w, err := c.between("touch", "watch", heardTimes, 1)
	if err != nil {
		return err
	}
	c.add(queueHears, "ns", float64(q[0]))
	c.add(watchHears, "ns", float64(w[0]))
	c.add(watchAbove, "ns", float64(w[0])-float64(q[0]))
	return nil
}

func (c *crew) makeTopic() (func() error, error) {
	t, err := topic.CreateRaw(c.d, topicName, &topic.Options{Ephemeral: true})
	if err != nil {
		return nothing, err
	}
	return t.Close, c.bind("bind all", -1, -1, -1)
}

func (c *crew) topics() error {
	one, err := c.between("publish", "subscribe", topicMessages, 1)
	if err != nil {
		return err
	}
	two, err := c.between("publish", "subscribe", topicMessages, 1, 2)
	if err != nil {
		return err
	}
	c.add(topicOne, "1/s", float64(one[0]))
	c.add(topicTwo, "1/s", float64(min(two[0], two[1])))
	return nil
}

func (c *crew) makeTrips() (func() error, error) {
	var all []*queue.Raw
	done := func() (err error) {
		for _, q := range all {
			err = errors.Join(err, q.Close())
		}
		return err
	}
	for _, mode := range tripModes {
		for _, name := range tripQueues(mode) {
			q, err := queue.CreateRaw(c.d, name, &queue.Options{Ephemeral: true, Wait: mode})
			if err != nil {
				return done, err
			}
			all = append(all, q)
		}
		if _, err := c.ask("serve", int64(mode), 1); err != nil {
			return done, err
		}
	}
	return done, c.bind("bind all", apart[0], apart[1])
}

func (c *crew) trips() error {
	for i, name := range [][2]string{{tripAwake, callAwake}, {tripAsleep, callAsleep}} {
		mode := int64(tripModes[i])
		if err := c.workers[1].tell("echo", mode); err != nil {
			return err
		}
		trip, err := c.ask("trip", mode, 0)
		if err != nil {
			return err
		}
		if _, err := c.workers[1].answer(); err != nil {
			return err
		}
		call, err := c.ask("call", mode, 0)
		if err != nil {
			return err
		}
		c.add(name[0], "ns", float64(trip[0]))
		c.add(name[1], "ns", float64(call[0]))
	}
	return nil
}

// deaths kills a child again and again, and takes the time until its manager calls back, and until the next one runs.
func (c *crew) deaths(ctx context.Context, rounds int) (err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	m, err := proc.New(c.d, &proc.Options{Private: true, Output: io.Discard})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	seen, runs := make(chan time.Time, 1), make(chan time.Time, 1)
	m.OnUnexpectedExit(func(string, proc.Exit) { seen <- time.Now() })
	m.OnAfterStart(func(string) { runs <- time.Now() })
	wait := func(ch chan time.Time) (at time.Time, err error) {
		select {
		case at = <-ch:
			return at, nil
		case <-ctx.Done():
			return at, context.Cause(ctx)
		}
	}
	const name = "child"
	if err := m.Add(proc.Spec{Name: name, Command: []string{"sleep", "1000"}, Restart: proc.Always, Backoff: proc.Backoff{First: 1, Max: 1}}); err != nil {
		return err
	}
	if err := m.StartAll(ctx); err != nil {
		return err
	}
	if _, err := wait(runs); err != nil {
		return err
	}
	for i := range rounds {
		s, err := m.State(name)
		if err != nil {
			return err
		}
		start := time.Now()
		if err := syscall.Kill(s.Pid, syscall.SIGKILL); err != nil {
			return err
		}
		saw, err := wait(seen)
		if err != nil {
			return err
		}
		ran, err := wait(runs)
		if err != nil {
			return err
		}
		c.add(deathSeen, "ns", float64(saw.Sub(start)))
		c.add(childAgain, "ns", float64(ran.Sub(start)))
		c.cfg.Progress(procPart, i+1, rounds)
	}
	return nil
}
