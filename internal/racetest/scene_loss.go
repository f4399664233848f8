package racetest

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

// In this scene one process makes an object of each kind and holds what it can, another one waits
// for each, and the supervisor, which is no member, takes the files away under both. The waits are
// those of the vigils.
func init() {
	scenes = append(scenes, Scene{Name: "lost files", run: runLoss, play: playLoss})
}

// losses are the ways in which files are lost.
var losses = []struct {
	how  string
	lose func(b *bout, dir string) error
}{
	{"directory deleted", func(_ *bout, dir string) error { return removeTree(dir) }},
	{"files deleted", func(b *bout, dir string) error {
		files, err := filepath.Glob(filepath.Join(dir, "[^#]*"))
		b.rng.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		for _, f := range files {
			err = cmp.Or(err, os.Remove(f))
		}
		return err
	}},
	{"directory moved", func(_ *bout, dir string) error { return os.Rename(dir, dir+"-away") }},
}

// lossKinds are the kinds of waits that the loss of files ends.
func lossKinds() (kinds []string) {
	for k, v := range vigils {
		if v.ends[wiped] != nil {
			kinds = append(kinds, k)
		}
	}
	slices.Sort(kinds)
	return kinds
}

func runLoss(b *bout) error {
	b.weather = Weather{Wait: b.weather.Wait}
	for i, l := range losses {
		err := lossRound(b, l.how, fmt.Sprint("d", i), l.lose)
		if err == errOver || b.ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", l.how, err)
		}
	}
	return nil
}

func lossRound(b *bout, how, domain string, lose func(b *bout, dir string) error) error {
	crew := map[string]*hire{}
	for role, says := range map[string]string{"holder": "holding", "waiter": "waiting"} {
		h, err := b.hire(role)
		if err != nil {
			return err
		}
		crew[says] = h
	}
	for _, says := range []string{"holding", "waiting"} {
		if err := b.does(crew[says], domain, says); err != nil {
			return err
		}
	}
	waiter := crew["waiting"]
	time.Sleep(time.Duration(b.rng.IntN(300)) * time.Millisecond)
	begin := now()
	if err := lose(b, filepath.Join(segment.DomainsPath(b.base), domain)); err != nil {
		return err
	}
	const first, second = "wait", "call made afterwards"
	for _, turn := range []string{first, second} {
		if turn == second {
			waiter.tell("again")
		}
		missing := lossKinds()
		for len(missing) > 0 {
			line, ok := b.hears(waiter, 2)
			if !ok {
				if waiter.living() {
					text := fmt.Sprintf("%s: not told: the %s of %s", how, turn, strings.Join(missing, ", "))
					b.violation("hang", text, waiter.dump())
				}
				return errOver
			}
			kind, told, names, text, err := cutLoss(line)
			if err != nil {
				return err
			}
			missing = slices.DeleteFunc(missing, func(k string) bool { return k == kind })
			if turn == first {
				b.delay(how, time.Duration(told-begin))
			}
			if !vigils[kind].mayEnd(wiped, names) {
				b.violationf("wrong-end", "%s: the %s of %s ends with %s (%s)", how, turn, kind, names, text)
			}
			b.count("waits", 1)
		}
	}
	for _, h := range crew {
		_ = h.stdin.Close()
		b.answer(h, "to end")
		h.wait()
	}
	return nil
}

// sayLoss tells how a wait ended.
func (w *worker) sayLoss(kind string, err error) {
	w.say("%s\t%d\t%s\t%v", kind, now(), errorName(err), err)
}

func cutLoss(line string) (kind string, told uint64, names, text string, err error) {
	f := strings.SplitN(line, "\t", 4)
	if len(f) < 4 {
		return "", 0, "", "", fmt.Errorf("the waiter says %q", line)
	}
	told, err = strconv.ParseUint(f[1], 10, 64)
	return f[0], told, f[2], f[3], err
}

func playLoss(w *worker) error {
	domain, ok := w.hear()
	if !ok {
		return nil
	}
	play := lossHolds
	if w.Role == "waiter" {
		play = lossWaits
	}
	return w.leaves(func() error {
		d, err := shiplap.Join(domain, &shiplap.Options{Dir: w.Base, Wait: w.Weather.Wait})
		if err != nil {
			return err
		}
		defer d.Close()
		return play(w, d)
	})
}

// lossName is the name of the object of a kind.
func lossName(i int) string { return fmt.Sprint("it", i) }

// lossHolds makes all objects, and holds what the victims of vigils hold, until its process ends.
func lossHolds(w *worker, d *shiplap.Domain) error {
	for i, k := range lossKinds() {
		v := vigils[k]
		if v.create != nil {
			if _, err := v.create(d, lossName(i)); err != nil {
				return fmt.Errorf("create %s: %w", k, err)
			}
		}
		if _, err := v.hold(d, lossName(i)); err != nil {
			return fmt.Errorf("hold %s: %w", k, err)
		}
	}
	w.say("holding")
	w.hear()
	os.Exit(0)
	return nil
}

// lossWaits waits for everything at once. When all have ended, each call is made again.
func lossWaits(w *worker, d *shiplap.Domain) error {
	kinds := lossKinds()
	all := make([]waiting, len(kinds))
	for i, k := range kinds {
		var err error
		if all[i], err = vigils[k].open(d, lossName(i)); err != nil {
			return fmt.Errorf("open %s: %w", k, err)
		}
	}
	calls := func() {
		var wg sync.WaitGroup
		for i, k := range kinds {
			wg.Go(func() { w.sayLoss(k, all[i].wait(context.Background())) })
		}
		wg.Wait()
	}
	w.say("waiting")
	for {
		calls()
		if line, ok := w.hear(); !ok || line != "again" {
			break
		}
	}
	for _, o := range all {
		_ = o.close()
	}
	return nil
}
