package layouttest

import (
	"context"
	"errors"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/lock"
)

// kind checks the header of an object of package lock, and returns the image without it.
func kind(t *testing.T, d *shiplap.Domain, name string, number, size int, locks, events []string, table string, params map[string]int) []byte {
	t.Helper()
	img := file(t, d, name)
	if len(img) != size {
		t.Fatalf("%s has %d bytes; %d are wanted", name, len(img), size)
	}
	compare(t, "header", img, 0, object.HeaderSize, 0, headerWant(self(t, d), want{"kind": number, "size": size,
		"descriptor": "", "descriptor length": 0, "descriptor hash": 0, "lock count": len(locks), "event count": len(events)}))
	at := func(name string) int { return at(t, table, name).off }
	places := map[string]int{}
	for _, l := range locks {
		places[l] = at(l + " lock")
	}
	var offs []int
	for _, e := range events {
		offs = append(offs, at(e))
	}
	paramTable := ""
	if params != nil {
		paramTable = table + "params"
	}
	entries(t, img, places, locks, offs, paramTable, params)
	clear(img[:object.HeaderSize])
	return img
}

// entry is what the holder table says of us.
func entry(t *testing.T, d *shiplap.Domain, img []byte, table, bitmap, field string, stride, number int) {
	t.Helper()
	me := self(t, d)
	slot := int(me.Token>>get(t, "token").bits(t, "Bits")["slot"].low) & 1023
	compare(t, "holder", img, at(t, table, field).off+slot*stride, 8, 0, want{"holder token": int(me.Token), "holder number": number})
	if used := img[at(t, table, bitmap).off+slot/8]; used != 1<<(slot%8) {
		t.Errorf("%s: byte %d is %#x", bitmap, slot/8, used)
	}
}

func TestMutexObject(t *testing.T) {
	dir := shmDir(t)
	d := join(t, dir)
	m, err := lock.CreateMutex(d, "m", nil)
	ok(t, err)
	defer m.Close()
	p := goPeer(t, dir, "m", "mutex", 0)
	p.says("held")
	p.kill()
	if err := m.Lock(limited(t)); !errors.Is(err, shiplap.ErrOwnerDied) {
		t.Fatal(err)
	}
	img := kind(t, d, "m", 4, 8192, []string{"mutex"}, nil, "mutex", nil)
	compare(t, "mutex", img, 0, len(img), 0, want{"mutex lock": skip{}})
	waiters := int(get(t, "token").bits(t, "Bits")["waiters"].put(1))
	lockWant := want{"word": waiters | int(self(t, d).Token), "recoveries": 1, "since": 0, "sleeps": skip{}, "waiter": skip{}, "line": 0, "damaged": 1}
	base := at(t, "mutex", "mutex lock").off
	compare(t, "lock", img, base, 128, 0, lockWant)
	ok(t, m.Repaired())
	lockWant["damaged"] = 0
	compare(t, "lock", file(t, d, "m"), base, 128, 0, lockWant)
	ok(t, m.Unlock())
}

func TestRWMutexObject(t *testing.T) {
	d := join(t, shmDir(t))
	m, err := lock.CreateRWMutex(d, "rw", nil)
	ok(t, err)
	defer m.Close()
	ok(t, m.RLock(bg))
	ok(t, m.RLock(bg))
	img := kind(t, d, "rw", 5, 8192+1024*64, []string{"writer"}, []string{"drained"}, "rwmutex", nil)
	w := want{"writer lock": "", "writing": 0, "drained": 0, "readers used": skip{}, "readers": skip{}}
	compare(t, "rwmutex", img, 0, len(img), 0, w)
	entry(t, d, img, "rwmutex", "readers used", "readers", 64, 2)
	ok(t, m.RUnlock())
	ok(t, m.RUnlock())
	ok(t, m.Lock(bg))
	img = file(t, d, "rw")
	entry(t, d, img, "rwmutex", "readers used", "readers", 64, 0)
	clear(img[:object.HeaderSize])
	w["writer lock"], w["writing"] = skip{}, 1
	compare(t, "rwmutex", img, 0, len(img), 0, w)
	ok(t, m.Unlock())
}

func TestSemaphoreObject(t *testing.T) {
	d := join(t, shmDir(t))
	s, err := lock.CreateSemaphore(d, "s", 7, nil)
	ok(t, err)
	defer s.Close()
	ok(t, s.Acquire(bg, 3))
	img := kind(t, d, "s", 6, 16384, []string{"guard", "queue"}, []string{"released"}, "semaphore", map[string]int{"permits": 7, "unowned": 0})
	compare(t, "semaphore", img, 0, len(img), 0, want{"guard lock": "", "queue lock": "", "released": 0, "available": 4,
		"permits used": skip{}, "permits held": skip{}})
	entry(t, d, img, "semaphore", "permits used", "permits held", 8, 3)
	ok(t, s.Release(3))
	u, err := lock.CreateSemaphore(d, "u", 2, &lock.SemaphoreOptions{Unowned: true})
	ok(t, err)
	defer u.Close()
	ok(t, u.Acquire(bg, 1))
	img = kind(t, d, "u", 6, 16384, []string{"guard", "queue"}, []string{"released"}, "semaphore", map[string]int{"permits": 2, "unowned": 1})
	compare(t, "semaphore", img, 0, len(img), 0, want{"guard lock": "", "queue lock": "", "released": 0, "available": 1,
		"permits used": "", "permits held": ""})
}

func TestCondObject(t *testing.T) {
	d := join(t, shmDir(t))
	c, err := lock.CreateCond(d, "c", nil)
	ok(t, err)
	defer c.Close()
	ok(t, c.Signal())
	ok(t, c.Broadcast())
	img := kind(t, d, "c", 7, 8192, nil, []string{"signalled"}, "cond", nil)
	compare(t, "cond", img, 0, len(img), 0, want{"signals": 2, "signalled": 0, "waits": 0})
}

func TestEventObject(t *testing.T) {
	d := join(t, shmDir(t))
	e, err := lock.CreateEvent(d, "e", nil)
	ok(t, err)
	defer e.Close()
	ok(t, e.Set())
	ok(t, e.Clear())
	ok(t, e.Set())
	img := kind(t, d, "e", 8, 8192, nil, []string{"changed"}, "event", nil)
	compare(t, "event", img, 0, len(img), 0, want{"flag": 2<<1 | 1, "changed": 0})
}

func TestBarrierObject(t *testing.T) {
	d := join(t, shmDir(t))
	b, err := lock.CreateBarrier(d, "b", 2, nil)
	ok(t, err)
	defer b.Close()
	ok(t, b.Abort())
	ok(t, b.Reset(bg))
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(bg)
	go func() {
		_, err := b.Wait(ctx)
		done <- err
	}()
	eventually(t, "it waits", func() bool { s, _ := b.Stats(); return s.Waiting == 1 })
	img := kind(t, d, "b", 9, 16384, []string{"reset"}, []string{"opened"}, "barrier", map[string]int{"parties": 2})
	compare(t, "barrier", img, 0, len(img), 0, want{"reset lock": "", "round": 1<<32 | 1, "opened": skip{}, "waiting used": skip{},
		"reset": "\x01", "waiting": skip{}})
	entry(t, d, img, "barrier", "waiting used", "waiting", 8, 1<<16|1)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if s, err := b.Stats(); !s.Broken || err != nil {
		t.Errorf("%+v, %v", s, err)
	}
}
