package racetest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap"
)

// storm is a scene in which workers use one object, called "it", in cycles.
type storm[H io.Closer] struct {
	// create makes the object; it is made again after it was taken away. The workers do if it is
	// nil.
	create func(b *bout) error
	open   func(w *worker, d *shiplap.Domain) (H, error)
	// turn is one turn of one goroutine; it is false when the handle is not good any more.
	turn func(h *hand, obj H) bool
	// judge looks at what is left when everybody is quiet and the workers are still members.
	judge func(b *bout) error
	hands int  // goroutines of a process at most; 0 means 4
	fixed bool // the object cannot be removed meanwhile
	// shut are errors of open that only say that there is no place for one more now.
	shut []error
}

const (
	object  = "it"
	workers = 4
)

func addStorm[H io.Closer](kind string, s storm[H]) {
	scenes = append(scenes, Scene{Name: kind + " storm", Removable: !s.fixed, run: s.run, play: s.play})
}

func (s storm[H]) run(b *bout) error {
	if err := b.join(); err != nil {
		return err
	}
	create := func() error {
		if s.create == nil {
			return nil
		}
		return s.create(b)
	}
	if err := create(); err != nil {
		return err
	}
	crew := make([]*hire, workers)
	for i := range crew {
		var err error
		if crew[i], err = b.hire("storm"); err != nil {
			return err
		}
	}
	for range b.Harms {
		select {
		case <-b.ctx.Done():
			return b.ctx.Err()
		case <-time.After(time.Duration(5+b.rng.IntN(50)) * time.Millisecond):
		}
		if err := s.harm(b, crew, create); err != nil {
			return err
		}
	}
	b.ledger.stop.Store(1)
	for _, h := range crew {
		b.answer(h, "to be quiet") // what it does not answer is counted there
	}
	if s.judge != nil {
		if err := s.judge(b); err != nil {
			return err
		}
	}
	for _, h := range crew {
		h.tell("end")
		h.wait()
		b.count("cycles", b.ledger.row(h.n).cycles.Load())
	}
	return nil
}

// answer waits for what a worker has to say by now.
func (b *bout) answer(h *hire, to string) (string, bool) {
	begin := time.Now()
	line, ok := b.hears(h, 3)
	if !ok && h.living() {
		waited := time.Since(begin).Round(time.Second)
		b.violation("hang", fmt.Sprintf("process %d was told %s, and is not after %v", h.n, to, waited),
			h.dump())
	}
	return line, ok
}

// harm does one thing that the weather has in store.
func (s storm[H]) harm(b *bout, crew []*hire, create func() error) (err error) {
	i := b.rng.IntN(len(crew))
	var ways []func() error
	if b.weather.Kill {
		ways = append(ways, func() error {
			crew[i].kill()
			b.count("cycles", b.ledger.row(crew[i].n).cycles.Load())
			b.count("kills", 1)
			crew[i], err = b.hire("storm")
			return err
		})
	}
	if b.weather.Stop {
		ways = append(ways, func() error {
			b.count("stops", 1)
			d := time.Duration(b.rng.IntN(30)) * time.Millisecond
			if b.rng.IntN(20) == 0 {
				d = 400 * time.Millisecond
			}
			crew[i].freeze(d)
			return nil
		})
	}
	if b.weather.Remove {
		ways = append(ways, func() error {
			if b.rng.IntN(3) > 0 {
				return nil
			}
			b.count("removals", 1)
			b.takenAway(0)
			err := b.d.Remove(b.ctx, object)
			if s.create == nil && errors.Is(err, shiplap.ErrNotExist) {
				err = nil
			}
			return errors.Join(err, create())
		})
	}
	if b.weather.Wipe {
		ways = append(ways, func() error {
			if b.rng.IntN(10) > 0 {
				return nil
			}
			b.count("wipes", 1)
			return b.wipe(create)
		})
	}
	if len(ways) == 0 {
		return nil
	}
	return ways[b.rng.IntN(len(ways))]()
}

// takenAway writes down that the object is another one from now on, and for how long both may be in
// use.
func (b *bout) takenAway(d time.Duration) {
	b.ledger.epoch.Add(1)
	b.ledger.grace.Store(now() + uint64(d+time.Second))
}

// wipe deletes the directory of the domain under everybody's feet, and makes the object anew.
func (b *bout) wipe(create func() error) error {
	b.takenAway(time.Second) // which is how long it may take until everybody knows
	if err := removeTree(filepath.Dir(filepath.Dir(b.d.Dir()))); err != nil {
		return err
	}
	err := b.leave()
	return errors.Join(err, b.join(), create())
}

// removeTree deletes a directory in which others make files meanwhile.
func removeTree(dir string) error {
	for {
		err := os.RemoveAll(dir)
		if !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
	}
}

func (s storm[H]) play(w *worker) error {
	end := w.harm()
	err := w.leaves(func() error {
		if w.Weather.Stay && !w.Weather.Wipe {
			d, err := w.join()
			if err != nil {
				return err
			}
			defer d.Close()
		}
		for !w.stopping() {
			if err := s.cycle(w); err != nil {
				return err
			}
		}
		end()
		w.say("quiet")
		w.hear()
		return nil
	})
	return err
}

// cycle opens the object, lets goroutines take turns, and closes it at a random moment.
func (s storm[H]) cycle(w *worker) error {
	w.opens()
	d, err := w.join()
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	obj, err := s.open(w, d)
	if err != nil {
		if e := d.Close(); e != nil {
			return e
		}
		if w.excusedAbsence(err) || isAny(err, s.shut) {
			time.Sleep(50 * time.Microsecond)
			return nil
		}
		return fmt.Errorf("open: %w", err)
	}
	most := s.hands
	if most == 0 {
		most = 4
	}
	closing := make(chan struct{})
	wg := w.hands(1+w.rng.IntN(most), closing, func(h *hand) bool { return s.turn(h, obj) })
	k := w.rng.IntN(20)
	if w.Hire%2 == 0 { // a rival: it is there most of the time
		k += 12
	}
	switch {
	case k < 14:
		time.Sleep(time.Duration(w.rng.IntN(300)) * time.Microsecond)
	case k < 19:
		time.Sleep(time.Duration(w.rng.IntN(3000)) * time.Microsecond)
	default:
		time.Sleep(time.Duration(w.rng.IntN(60)) * time.Millisecond)
	}
	w.closes()
	close(closing)
	closers := []func() error{obj.Close, d.Close}
	if w.rng.IntN(2) == 0 {
		closers[0], closers[1] = closers[1], closers[0]
	}
	for _, c := range closers {
		if err := c(); err != nil && !errors.Is(err, shiplap.ErrClosed) {
			w.complain("error", "close: %v", err)
		}
		if w.rng.IntN(4) == 0 {
			time.Sleep(time.Duration(w.rng.IntN(200)) * time.Microsecond)
		}
	}
	wg.Wait()
	r := w.row(w.Hire)
	r.cycles.Add(1)
	return nil
}
