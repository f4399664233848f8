package lock

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/rwlock"
	"github.com/shiplap-ipc/shiplap/internal/shares"
)

var rwKind = &kind{
	create: func(w *world) (err error) {
		if w.rw, err = CreateRWMutex(w.d, "rw", nil); err == nil {
			w.pair = pairOf(w.rw.obj)
		}
		return err
	},
	open: func(v *world) (err error) {
		var err2 error
		v.rw, err = OpenRWMutex(v.d, "rw")
		v.rw2, err2 = OpenRWMutex(v.d, "rw")
		if err == nil {
			v.pair = pairOf(v.rw.obj)
		}
		return errors.Join(err, err2)
	},
	while: whileRW,
	check: checkRW,
}

func (w *world) writerWord() uint32 { return w.rw.obj.Ctl.U32(offWriter).Load() }
func (w *world) damaged() bool      { return w.rw.l.Damaged() }
func (w *world) writing() bool      { return w.rw.l.Writing() }

// readers are how many hold it, by the table, the dead too.
func (w *world) readers() (n uint64) {
	for _, e := range w.rw.l.Readers() {
		n += uint64(e.Number)
	}
	return n
}

// anyReads reports whether somebody reads who lives.
func (w *world) anyReads() bool {
	return slices.ContainsFunc(w.rw.l.Readers(), func(e shares.Entry) bool { return !w.rw.obj.Space.Table.Dead(e.Token) })
}

func (w *world) writes(err error) error {
	died := errors.Is(err, shiplap.ErrOwnerDied)
	if err := w.section(err); err != nil {
		return err
	}
	if died {
		if err := w.rw.Repaired(); err != nil {
			return err
		}
	}
	return w.rw.Unlock()
}

func (w *world) reads(err error) error {
	if err := w.look(err); err != nil {
		return err
	}
	return w.rw.RUnlock()
}

func writeWhole(v *world) error    { return v.writes(v.rw.Lock(bg)) }
func tryWriteWhole(v *world) error { return v.writes(v.rw.TryLock()) }
func readWhole(v *world) error     { return v.reads(v.rw.RLock(bg)) }
func tryReadWhole(v *world) error  { return v.reads(v.rw.TryRLock()) }

// whileRW: a writer is alone, a reader keeps writers away, and who is neither holds nobody up.
func whileRW(_ *killtest.Trial, w *world) error {
	inside, v, readers := w.inside.Load(), w.writerWord()&^waitersBit, w.readers()
	if inside == reading && readers == 0 || inside == writing && v == 0 {
		return fmt.Errorf("the victim is inside (%d), with %d readers and the word %#x", inside, readers, v)
	}
	switch {
	case v != 0 && v != deadToken:
		return errors.Join(busy("TryLock", w.rw.TryLock()), busy("TryRLock", w.rw.TryRLock()), briefly("Lock", w.rw.Lock), briefly("RLock", w.rw.RLock))
	case w.anyReads():
		return errors.Join(w.reads(w.rw.TryRLock()), busy("TryLock", w.rw.TryLock()), briefly("Lock", w.rw.Lock))
	}
	return w.writes(w.rw.TryLock())
}

// checkRW takes it at once, for reading and writing, and is told of a writer's death, and of no reader's.
func checkRW(t *killtest.Trial, w *world) error {
	v, damaged, writing := w.writerWord(), w.damaged(), w.writing()
	want := damaged || v != 0 && writing
	if want && w.s.reader && w.a.Load() == w.b.Load() {
		return errors.New("a reader's death did damage")
	}
	if want && w.s.quiet && finished(t) {
		return errors.New("the victim had given it back, and it looks damaged")
	}
	err := killtest.Promptly("read", func(ctx context.Context) error {
		err := w.rw.RLock(ctx)
		if told := errors.Is(err, shiplap.ErrOwnerDied); told != want {
			return fmt.Errorf("the word was %#x, damaged %v, writing %v, and then: %v", v, damaged, writing, err)
		}
		return w.reads(err)
	})
	if err != nil {
		return err
	}
	err = killtest.Promptly("write", func(ctx context.Context) error {
		err := w.rw.Lock(ctx)
		if told := errors.Is(err, shiplap.ErrOwnerDied); told != want {
			return fmt.Errorf("a reader was told: %v, and a writer then: %v", want, err)
		}
		return w.writes(err)
	})
	if err != nil {
		return err
	}
	if v, n := w.writerWord(), w.readers(); v != 0 || n != 0 || w.damaged() || w.writing() {
		return fmt.Errorf("the word is %#x, and %d read; damaged %v, writing %v", v, n, w.damaged(), w.writing())
	}
	return errors.Join(w.reads(w.rw.TryRLock()), w.writes(w.rw.TryLock()))
}

// deadWriter leaves it as a dead writer does, in the middle of a change.
func deadWriter(w *world) error {
	w.rw.obj.Ctl.U32(offWriter).Store(deadToken)
	w.rw.obj.Ctl.U32(object.HeaderSize + rwlock.Writing).Store(1)
	w.a.Store(1)
	return nil
}

// deadReader leaves the entry of a dead reader.
func deadReader(w *world) error {
	const slot = deadToken & (shares.Slots - 1)
	bits := w.rw.obj.Ctl.U64(shares.Readers.Bitmap + slot/64*8)
	bits.Store(bits.Load() | 1<<(slot%64))
	w.rw.obj.Region.Span(1).U64(slot * shares.Readers.Stride).Store(deadToken | 1<<32)
	return nil
}

// waiterWrites is a survivor who wants to write as soon as the victim has the lock.
func waiterWrites(w *world) error {
	w.wait(func(ctx context.Context) error {
		if err := until(ctx, func() bool { return w.readers() != 0 || w.writerWord() != 0 }); err != nil {
			return err
		}
		return w.rw.Lock(ctx)
	})
	return nil
}

func waitedToWrite(_ *killtest.Trial, w *world) error {
	return killtest.Promptly("the survivor who waited", func(ctx context.Context) error { return w.writes(w.heard(ctx)) })
}

// survivorReads has a survivor hold it until a writer waits; survivorWrites, until somebody waits for him.
func survivorReads(w *world) error {
	w.wait(func(ctx context.Context) error {
		drained := w.rw.obj.Ctl.U32(offDrained)
		if err := until(ctx, func() bool { return drained.Load()&1 != 0 }); err != nil {
			return nil
		}
		return w.rw.RUnlock()
	})
	return w.rw.RLock(bg)
}

func survivorWrites(w *world) error {
	w.wait(func(ctx context.Context) error {
		if err := until(ctx, func() bool { return w.writerWord()&waitersBit != 0 }); err != nil {
			return nil
		}
		return w.rw.Unlock()
	})
	return w.rw.Lock(bg)
}

func survivorGoes(_ *killtest.Trial, w *world) error {
	w.cancel()
	err := w.heard(bg)
	if w.rw.readers.Load() > 0 {
		err = errors.Join(err, w.rw.RUnlock())
	}
	if w.rw.held.Held() {
		err = errors.Join(err, w.rw.Unlock())
	}
	return err
}

func nothing(*killtest.Trial, *world) error { return nil }

var rwScenes = []scene{
	{name: "rwmutex/RLock", covers: []string{"lock.RWMutex.RLock"}, kind: rwKind, reader: true, op: now(readWhole), recover: now(readWhole)},
	{name: "rwmutex/RLock after a dead writer", kind: rwKind, setup: deadWriter, reader: true, op: now(readWhole), recover: now(readWhole)},
	{name: "rwmutex/RLock, somebody writes", kind: rwKind, setup: survivorWrites, reader: true, check: survivorGoes, while: nothing, op: now(readWhole)},
	{name: "rwmutex/TryRLock", covers: []string{"lock.RWMutex.TryRLock"}, kind: rwKind, reader: true, op: now(tryReadWhole)},
	{name: "rwmutex/TryRLock after a dead writer", kind: rwKind, setup: deadWriter, reader: true, op: now(tryReadWhole), recover: now(tryReadWhole)},
	{name: "rwmutex/RUnlock", covers: []string{"lock.RWMutex.RUnlock"}, kind: rwKind, reader: true,
		op: after(func(v *world) error { return v.look(v.rw.RLock(bg)) }, func(v *world) error { return v.rw.RUnlock() })},
	{name: "rwmutex/RUnlock, a writer waits", kind: rwKind, reader: true, setup: waiterWrites, check: waitedToWrite, while: nothing,
		op: after(func(v *world) error {
			err := v.look(v.rw.RLock(bg))
			return errors.Join(err, until(v.ctx, func() bool { return v.rw.obj.Ctl.U32(offDrained).Load()&1 != 0 }))
		}, func(v *world) error { return v.rw.RUnlock() })},
	{name: "rwmutex/Lock", covers: []string{"lock.RWMutex.Lock"}, kind: rwKind, quiet: true, op: now(writeWhole), recover: now(writeWhole)},
	{name: "rwmutex/Lock, somebody reads", kind: rwKind, quiet: true, setup: survivorReads, check: survivorGoes, while: nothing, op: now(writeWhole)},
	{name: "rwmutex/Lock after a dead writer", kind: rwKind, setup: deadWriter, op: now(writeWhole), recover: now(writeWhole)},
	{name: "rwmutex/Lock beside a dead reader", kind: rwKind, quiet: true, setup: deadReader, op: now(writeWhole), recover: now(writeWhole)},
	{name: "rwmutex/TryLock", covers: []string{"lock.RWMutex.TryLock"}, kind: rwKind, quiet: true, setup: deadReader, op: now(tryWriteWhole)},
	{name: "rwmutex/TryLock after a dead writer", kind: rwKind, setup: deadWriter, op: now(tryWriteWhole), recover: now(tryWriteWhole)},
	{name: "rwmutex/Unlock", covers: []string{"lock.RWMutex.Unlock"}, kind: rwKind, quiet: true,
		op: after(func(v *world) error { return v.section(v.rw.Lock(bg)) }, func(v *world) error { return v.rw.Unlock() })},
	{name: "rwmutex/MarkSince", covers: []string{"lock.RWMutex.MarkSince"}, kind: rwKind, op: now(func(v *world) error {
		err := v.section(v.rw.Lock(bg))
		return errors.Join(err, v.rw.MarkSince(), v.rw.Unlock())
	})},
	{name: "rwmutex/Unlock, a writer waits", kind: rwKind, quiet: true, setup: waiterWrites, check: waitedToWrite, while: nothing,
		op: after(func(v *world) error {
			err := v.section(v.rw.Lock(bg))
			return errors.Join(err, until(v.ctx, func() bool { return v.writerWord()&waitersBit != 0 }))
		}, func(v *world) error { return v.rw.Unlock() })},
	{name: "rwmutex/Repaired", covers: []string{"lock.RWMutex.Repaired"}, kind: rwKind, setup: deadWriter, recover: now(writeWhole),
		op: after(func(v *world) error { return v.section(v.rw.Lock(bg)) },
			func(v *world) error { return errors.Join(v.rw.Repaired(), v.rw.Unlock()) })},
	{name: "rwmutex/Close", covers: []string{"lock.RWMutex.Close"}, kind: rwKind, op: after(func(v *world) error { return v.look(v.rw.RLock(bg)) },
		func(v *world) error { return errors.Join(v.rw2.Close(), v.rw.Close(), v.rw.RUnlock()) })},
}
