package racetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
)

// vigil is a scene in which a waiter waits for what a victim holds.
type vigil struct {
	// create makes the object; what it returns is closed at the end of the round. The victim does
	// if it is nil.
	create creating
	// hold makes the victim hold it.
	hold holding
	// open prepares the waiter.
	open opening
	// ends are the errors that each way of ending the wait may lead to. Ways that are not there are
	// not tried.
	ends map[way][]error
	// early says that the waiter must be ready before the victim can hold.
	early bool
}

// way is how a wait comes to its end.
type way string

const (
	killed  way = "kill"
	forking way = "kill while forking"
	execed  way = "exec"
	left    way = "leave"
	removed way = "remove"
	wiped   way = "wipe"
	closed  way = "close"
	gaveup  way = "cancel"
)

// deaths are the ends of a wait whose victim dies in any way, is removed or given up.
func deaths(told ...error) map[way][]error {
	return map[way][]error{
		killed: told, forking: told, execed: told,
		removed: {shiplap.ErrRemoved}, wiped: {shiplap.ErrRemoved},
		closed: {shiplap.ErrClosed}, gaveup: {context.Canceled},
	}
}

// leaving adds how an orderly leave is told.
func leaving(m map[way][]error, told ...error) map[way][]error {
	m[left] = told
	return m
}

// vigils are all vigils, by kind.
var vigils = map[string]vigil{}

func addVigil(kind string, v vigil) {
	vigils[kind] = v
	scenes = append(scenes, Scene{Name: kind + " vigil", run: v.run, play: v.play})
}

func (v vigil) run(b *bout) error {
	var ways []way
	for w := range v.ends {
		if !slices.Contains(b.Without, string(w)) {
			ways = append(ways, w)
		}
	}
	if len(ways) == 0 {
		return nil
	}
	slices.Sort(ways)
	b.rng.Shuffle(len(ways), func(i, j int) { ways[i], ways[j] = ways[j], ways[i] })
	b.weather = Weather{Wait: b.weather.Wait}
	if b.rng.IntN(2) == 0 {
		b.weather.Wait = shiplap.WaitSpin
	}
	domain := 0
	var waiter *hire
	for i := range max(b.Harms/3, 1) {
		if b.ctx.Err() != nil {
			return b.ctx.Err()
		}
		if waiter == nil || !waiter.living() {
			var err error
			if waiter, err = b.hire("waiter"); err != nil {
				return err
			}
		}
		w := ways[i%len(ways)]
		err := v.round(b, w, waiter, fmt.Sprintf("d%d", domain), fmt.Sprintf("it%d", i))
		if errors.Is(err, errOver) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", w, err)
		}
		if w == wiped {
			domain++
		}
	}
	_ = waiter.stdin.Close()
	b.answer(waiter, "to end")
	waiter.wait()
	return nil
}

// round lets one waiter wait for one victim.
func (v vigil) round(b *bout, w way, waiter *hire, domain, name string) (err error) {
	d, err := shiplap.Join(domain, &shiplap.Options{Dir: b.base})
	if err != nil {
		return err
	}
	defer func() {
		if e := d.Close(); w != wiped {
			err = errors.Join(err, e)
		}
	}()
	if v.create != nil {
		keep, err := v.create(d, name)
		if err != nil {
			return err
		}
		defer keep.Close()
	}
	role := "victim"
	if w == forking {
		role = "forking victim"
	}
	victim, err := b.hire(role)
	if err != nil {
		return err
	}
	defer func() {
		_ = victim.stdin.Close()
		if victim.living() {
			victim.kill()
		}
	}()
	hold, wait := "hold "+domain+" "+name, "wait "+domain+" "+name
	if v.early {
		waiter.tell(wait)
	}
	if err := b.does(victim, hold, "holding"); err != nil {
		return err
	}
	if !v.early {
		waiter.tell(wait)
	}
	if err := b.expects(waiter, wait, "waiting"); err != nil {
		return err
	}
	time.Sleep(time.Duration(b.rng.IntN([]int{1, 3000, 80000}[b.rng.IntN(3)])) * time.Microsecond)
	begin := now()
	switch w {
	case killed, forking:
		victim.kill()
	case execed:
		victim.tell("exec")
	case left:
		victim.tell("leave")
	case removed:
		if err := d.Remove(b.ctx, name); err != nil {
			return err
		}
	case wiped:
		if err := removeTree(d.Dir()); err != nil {
			return err
		}
	case closed, gaveup:
		waiter.tell(string(w))
	}
	b.count("waits", 1)
	line, ok := b.hears(waiter, 1)
	if !ok {
		if waiter.living() {
			text := fmt.Sprintf("%s: not told within %v", w, time.Duration(now()-begin).Round(time.Second))
			b.violation("hang", text, waiter.dump())
		}
		return errOver
	}
	told, what, _ := strings.Cut(line, " ")
	when, err := strconv.ParseUint(told, 10, 64)
	if err != nil {
		return fmt.Errorf("the waiter says %q: %w", line, err)
	}
	b.delay(string(w), time.Duration(when-begin))
	name, text, _ := strings.Cut(what, " ")
	if !v.mayEnd(w, name) {
		b.violationf("wrong-end", "%s: the wait ends with %s (%s)", w, name, text)
	}
	return nil
}

// mayEnd reports whether a wait may end in that way with an error of these names.
func (v vigil) mayEnd(w way, names string) bool {
	return slices.ContainsFunc(v.ends[w], func(e error) bool {
		return slices.Contains(strings.Split(names, "+"), errorName(e))
	})
}

// does tells a worker to do something, and waits until it says that it has.
func (b *bout) does(h *hire, line, want string) error {
	h.tell(line)
	return b.expects(h, line, want)
}

// expects waits for what a worker says when it has done what it was told. errOver: it says nothing, which is
// reported.
func (b *bout) expects(h *hire, told, want string) error {
	got, ok := b.answer(h, told)
	if !ok {
		return errOver
	}
	if got != want {
		return fmt.Errorf("process %d says %q, not %q", h.n, got, want)
	}
	return nil
}

// errOver ends a bout: its waiter hung, and is gone.
var errOver = errors.New("the waiter is gone")

// named are the errors that waits end with.
var named = map[string]error{
	"ErrOwnerDied": shiplap.ErrOwnerDied, "ErrPeerGone": shiplap.ErrPeerGone,
	"ErrRemoved": shiplap.ErrRemoved, "ErrClosed": shiplap.ErrClosed,
	"EOF": io.EOF, "ErrBroken": lock.ErrBroken, "ErrNotExist": shiplap.ErrNotExist,
	"Canceled": context.Canceled, "ErrFull": shiplap.ErrFull, "ErrEmpty": shiplap.ErrEmpty,
}

func errorName(err error) string {
	if err == nil {
		return "nil"
	}
	var all []string
	for n, e := range named {
		if errors.Is(err, e) {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	if len(all) == 0 {
		return "other"
	}
	return strings.Join(all, "+")
}

func (v vigil) play(w *worker) error {
	switch w.Role {
	case "waiter":
		return w.leaves(func() error { return v.waits(w) })
	case "victim":
		return v.holds(w)
	case "forking victim":
		w.Weather.Fork = true
		defer w.harm()()
		return v.holds(w)
	case "became another":
		w.hear()
		return nil
	}
	return fmt.Errorf("no role %q", w.Role)
}

// joins joins the domain of a round.
func (w *worker) joins(args string) (d *shiplap.Domain, name string, err error) {
	domain, name, _ := strings.Cut(args, " ")
	d, err = shiplap.Join(domain, &shiplap.Options{Dir: w.Base, Wait: w.Weather.Wait})
	return d, name, err
}

// holds is the victim: it does what it is told until it is told no more.
func (v vigil) holds(w *worker) error {
	var leave func() error
	for {
		line, ok := w.hear()
		if !ok {
			return nil
		}
		switch verb, args, _ := strings.Cut(line, " "); verb {
		case "hold":
			d, name, err := w.joins(args)
			if err != nil {
				return err
			}
			defer d.Close()
			if leave, err = v.hold(d, name); err != nil {
				return fmt.Errorf("hold: %w", err)
			}
			w.say("holding")
		case "leave":
			if err := leave(); err != nil {
				return fmt.Errorf("leave: %w", err)
			}
		case "exec":
			w.become("became another")
		}
	}
}

// waits is the waiter.
func (v vigil) waits(w *worker) error {
	var wg sync.WaitGroup
	var obj waiting
	cancel := func() {}
	defer wg.Wait()
	for {
		line, ok := w.hear()
		if !ok {
			return nil
		}
		switch verb, args, _ := strings.Cut(line, " "); verb {
		case "wait":
			d, name, err := w.joins(args)
			if err != nil {
				return err
			}
			if obj, err = v.open(d, name); err != nil {
				return fmt.Errorf("open: %w", err)
			}
			var ctx context.Context
			ctx, cancel = context.WithCancel(context.Background())
			this := obj
			wg.Go(func() {
				w.say("waiting")
				err := this.wait(ctx)
				told := now()
				_ = this.close()
				_ = d.Close()
				cancel()
				w.say("%d %s %v", told, errorName(err), err)
			})
		case string(gaveup):
			cancel()
		case string(closed):
			_ = obj.close()
		}
	}
}
