package racetest

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/store"
)

// In this scene a process is stopped while it changes a store, and others die while they do.
// Whoever uses the store then may have to wait for the stopped one, but not longer than its context
// says.
func init() {
	scenes = append(scenes, Scene{Name: "store stopped", run: runStopped, play: playStopped})
}

func runStopped(b *bout) error {
	if err := b.join(); err != nil {
		return err
	}
	if err := made(store.Create(b.d, object, &store.Options{MaxBytes: 16 << 20, Keys: 4096})); err != nil {
		return err
	}
	for range max(b.Harms/5, 1) {
		if b.ctx.Err() != nil {
			return b.ctx.Err()
		}
		crew := make([]*hire, 3)
		for i := range crew {
			var err error
			if crew[i], err = b.hire("writer"); err != nil {
				return err
			}
			b.answer(crew[i], "to begin")
		}
		user, err := b.hire("user")
		if err != nil {
			return err
		}
		b.answer(user, "to begin")
		time.Sleep(time.Duration(b.rng.IntN(20)) * time.Millisecond)
		crew[0].setStopped(true)
		crew[0].signal(syscall.SIGSTOP)
		b.count("stops", 1)
		for _, h := range crew[1:] {
			time.Sleep(time.Duration(b.rng.IntN(3000)) * time.Microsecond)
			h.kill()
			b.count("kills", 1)
		}
		user.tell("use it")
		b.answer(user, "to use it")
		crew[0].signal(syscall.SIGCONT)
		crew[0].setStopped(false)
		user.wait()
		crew[0].kill()
	}
	return judgeStore(b, false)
}

func playStopped(w *worker) error {
	d, err := w.join()
	if err != nil {
		return err
	}
	defer d.Close()
	s, err := store.Open(d, object, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	w.say("ready")
	if w.Role == "writer" {
		w.hands(4, make(chan struct{}), func(h *hand) bool {
			key := fmt.Sprint("k", h.rng.IntN(200))
			_, err := s.Set(h.ctx, key, message(nil, h.rng.IntN(maxCells), h.me(), h.rng.IntN(20000)),
				store.TTL(time.Duration(h.rng.IntN(3))*time.Millisecond))
			return err == nil || errors.Is(err, shiplap.ErrFull)
		}).Wait()
		return nil
	}
	w.hear()
	const spell = 100 * time.Millisecond
	w.hands(4, make(chan struct{}), func(h *hand) bool {
		ctx, cancel := context.WithTimeout(h.ctx, spell)
		defer cancel()
		o := []op{opWatch, opStore, opLoad, opCheck}[h.n]
		err := h.call(o, spell, func() error {
			switch o {
			case opWatch:
				for _, err := range s.Watch(ctx, "*", nil) {
					if err != nil {
						return err
					}
				}
				return nil
			case opStore:
				_, err := s.Set(ctx, "k0", make([]byte, 5000))
				return err
			case opLoad:
				_, err := s.All(ctx, "")
				return err
			}
			return s.Check(ctx)
		})
		if err != nil && !gaveUp(err) && !isAny(err, []error{shiplap.ErrFull, shiplap.ErrNotExist}) {
			h.unexpected(o.String(), err)
		}
		return false
	}).Wait()
	w.say("used")
	return nil
}
