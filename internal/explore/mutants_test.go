//go:build explore

package explore

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// edit is a change of a file: what stands there once, and what takes its place.
type edit struct{ file, old, new string }

// mutant is one fault in the code that ships, and the scene that finds it.
type mutant struct {
	name  string
	scene string // -run
	like  string // of the failure
	edits []edit
}

// rowScenes says that a scene is in package row.
const rowScenes = "row: "

const forEver = "asleep for ever"

const (
	lockGo    = "internal/wordlock/lock.go"
	waitingGo = "internal/wordlock/waiting.go"
	untilGo   = "internal/wait/until.go"
	sharesGo  = "internal/shares/shares.go"
	rwlockGo  = "internal/rwlock/rwlock.go"
	barrierGo = "internal/barrier/barrier.go"
	putGo     = "internal/row/producer.go"
	ackGo     = "internal/row/ack.go"
	waitGo    = "internal/row/wait.go"
	leaseGo   = "internal/row/leasewait.go"
	roomGo    = "internal/row/room.go"
	mutexGo   = "internal/mutex/mutex.go"
	gateGo    = "internal/object/gate.go"
	removeGo  = "internal/object/remove.go"
	recordGo  = "internal/wordlock/record.go"
	waiterGo  = "internal/futex/waiter.go"
	condGo    = "lock/cond.go"
	semGo     = "lock/semaphore.go"
	moveGo    = "internal/row/move.go"
	eventGo   = "internal/wait/event.go"
)

var mutants = []mutant{
	{"a reader looks for a writer before it notes itself", "TestRWLock$", "inside (", []edit{{rwlockGo,
		"	l.table.Add(1)\n	if !l.writer.Held() {",
		"	held := l.writer.Held()\n	l.table.Add(1)\n	if !held {"}}},
	{"a reader that withdraws does not wake the writer", "TestRWLock$", forEver, []edit{{rwlockGo,
		"l.drained.WakeAll()", "_ = l"}}},
	{"taking over from a writer notes no damage", "TestRWLock$", "not told", []edit{{rwlockGo,
		"		l.damaged.StoreRelease(1)\n", ""}}},
	{"writing is cleared before damaged is set", "TestRWLockDeathOfTaker", "not told", []edit{{rwlockGo,
		"		l.damaged.StoreRelease(1)\n		l.writing.StoreRelease(0)",
		"		l.writing.StoreRelease(0)\n		l.damaged.StoreRelease(1)"}}},
	{"the last one at a barrier wakes nobody", "TestBarrier$", forEver, []edit{{barrierGo,
		"if n == 0 || n+1 == b.parties {", "if n == 0 {"}, {barrierGo,
		"				b.opened.Wake(1) // one", "				_ = 1 // one"}}},
	{"a party that gives up does not break the round", "TestBarrier$", "they met: true", []edit{{barrierGo,
		"	if err != nil {\n		b.breakRound(v)\n	}\n", ""}}},
	{"a party is counted before it is noted in the table", "TestBarrierAfterDeath", "met a dead one", []edit{{barrierGo,
		"		b.enter(v)\n		next := v + 1", "		defer b.enter(v)\n		next := v + 1"}}},
	{"a barrier asks late who is dead", "TestBarrierNotices", forEver, []edit{{barrierGo,
		"(looks > 4 || wait.Crowded())", "looks > 4"}}},
	{"a wait for readers does not name those that its look has met", "TestRWLockNotices", forEver, []edit{{sharesGo,
		"if w.view.met = nil; told {", "if w.view.met = nil; false {"}}},
	{"the lock is taken without keeping sleepers in mind", "TestLock$", forEver, []edit{{waitingGo,
		"!l.word.CAS(0, l.me|waitersBit)", "!l.word.CAS(0, l.me)"}}},
	{"a dead owner is asked for before the watch, and not again", "TestLockNotices", forEver, []edit{{waitingGo,
		"		if w.bound > watchFrom || wait.Crowded() {\n			c.Depend(l.owners, owner)\n		}\n", ""}, {waitingGo,
		"		if v&waitersBit == 0 {", "		c.Depend(l.owners, owner)\n		if v&waitersBit == 0 {"}, {untilGo,
		"if err == nil && !over && c.renewed {", "if false {"}}},
	{"busy is not set before the look at the state word", "TestRingExclusive/closed", "", []edit{{putGo,
		"	r.busy.StoreRelease(1) // pairs with Heavy in final\n	if r.flags() != 0 {", "	if r.flags() != 0 {"}}},
	{"the mark for records given back is cleared by a release store", "TestRingLeases/two", forEver, []edit{{ackGo,
		"q.again.Swap(0)", "q.again.StoreRelease(0)"}}},
	{"the mark for records given back is cleared by a store", "TestRingLeases/two", forEver, []edit{{ackGo,
		"q.again.Swap(0)", "q.again.Store(0)"}}},
	{"a consumer leaves the last record of a closed queue to others", "TestRingLeasesEnd", forEver, []edit{{ackGo,
		"	return at == cursor || w.q.doneAt(at)\n", "	return at == cursor\n"}}},
	{"the oldest record is looked for twice", "TestRingLeasesEnd", forEver, []edit{{ackGo,
		"	return at == cursor || w.q.doneAt(at)\n", "	return at == cursor || w.q.headDone()\n"}}},
	{"the consumer lock is given back without a look at acknowledged records", "TestRingLeases/room", forEver, []edit{{waitGo,
		"	if q.headDone() {\n		q.notFull", "	if false {\n		q.notFull"}}},
	{"a producer that waits for room names the owner of the lock before it tries", "TestRingNotices/a_consumer_dies_beside", forEver,
		[]edit{{waitGo, "	for range reclaimTries {\n",
			"	if o := q.ConsumerLock.Owner(); o != 0 {\n		c.Depend(q.Owners, o)\n	}\n	if true {\n		return q.tryReclaim()\n	}\n	for {\n"}}},
	{"a producer sleeps beside room when the consumer lock is free", "TestRingNotices/a_consumer_dies,", forEver,
		[]edit{{waitGo, "if !q.headDone() { // else", "if true { // else"}}},
	{"a message that was put before the peer went is not looked for", "TestRingNotices/the_writing", "told that all is over",
		[]edit{{waitGo, "			if w.ready.Ready() { // it was put", "			if false { // it was put"}}},
	{"a consumer does not name the holders of records", "TestRingNotices/(the_holder|one_of)", forEver, []edit{{leaseGo,
		"	for _, h := range w.alive {\n		c.Depend(q.Owners, h.token)\n	}\n", ""}}},
	{"a delivery of a dead holder is handed out by a store", "TestRingAckedThenDead", "came again", []edit{{ackGo,
		"	if !q.word(pos+wordSize).CAS(st, leasedState(q.Owners.Self(), count)) {",
		"	q.word(pos + wordSize).StoreRelease(leasedState(q.Owners.Self(), count))\n	if false {"}}},
	{"a light Lock does not look again whether the handle is closed", "TestMutexClose", "conflict", []edit{{mutexGo,
		"if m.damaged.Load()|m.bars.Load() == 0 {", "if m.damaged.Load() == 0 {"}}},
	{"a handle that is closed does not look whether the lock is held", "TestMutexClose", "conflict", []edit{{mutexGo,
		"!mine && m.share.End()", "(!mine || true) && m.share.End()"}}},
	{"the last Unlock of a closed handle does not give its share back", "TestMutexClose", "not left", []edit{{mutexGo,
		"	if m.closed() {\n		m.free()\n	}\n", ""}, {mutexGo, "later(d, func() {", "_ = (func() {"}}},
	{"a removal that was begun is not done again", "TestRemoval/an_old", "another one of its name", []edit{{removeGo,
		"	err := Guarded(func() error {\n		span.U32(offState).Or(Removed)",
		"	if span.U32(offState).Load()&Removed != 0 {\n		return nil\n	}\n	err := Guarded(func() error {\n		span.U32(offState).Or(Removed)"}}},
	{"a removal bars no lock", "TestRemoval/an_old", "another one of its name", []edit{{recordGo,
		"	s.U32(off + offLine).Store(barred)\n", ""}}},
	{"a removal relies on other wakers", "TestRemoval/one_that_sleeps", forEver, []edit{{removeGo, ".Rouse()", ".WakeAll()"}}},
	{"the bit of a lock word stays when everybody is woken", "TestRemoval/one_that_waits", forEver, []edit{{recordGo,
		"		word.CAS(v, v&^waitersBit)\n", ""}}},
	{"a pin is closed without a fence", "TestPin", "unmapped", []edit{{gateGo, "		mem.Heavy()\n", ""}}},
	{"Poke looks where the waiter is before it says poked", "TestPoke", forEver, []edit{{waiterGo,
		"	touch()\n	atomic.SwapUint32(&w.poked, 1)", "	place := w.place.Load()\n	touch()\n	atomic.SwapUint32(&w.poked, 1)"},
		{waiterGo, "switch w.place.Load() {", "switch place {"}}},
	{"the counter of a condition variable is read after the mutex was unlocked", "TestCond", forEver, []edit{{condGo,
		"	first := c.signals.Load() // before the mutex is unlocked: a signal from then on is for us\n", ""}, {condGo,
		"	*unlocked = true\n", "	*unlocked = true\n	first := c.signals.Load()\n"}}},
	{"a condition variable wakes before it counts", "TestCond", forEver, []edit{{condGo,
		"		c.signals.Add(1)\n		wake(c.event, n)\n", "		wake(c.event, n)\n		c.signals.Add(1)\n"}}},
	{"permits that are given back wake nobody", "TestSemaphore", forEver, []edit{{semGo,
		"		s.released.Wake(1) // the head of the queue\n", ""}}},
	{"too few permits, and nobody looks for the dead", "TestSemaphore", forEver, []edit{{semGo,
		"	if have < n && !s.unowned {", "	if false {"}}},
	{"permits are taken without the guard", "TestSemaphore", "", []edit{{semGo,
		"	defer s.guard.Unlock()\n	if recovered {", "	s.guard.Unlock()\n	if recovered {"}}},
	{"a producer notes more as taken than was", "TestRing$/room", "the hints", []edit{{roomGo,
		"p.r.seen.StoreRelease(taken)", "p.r.seen.StoreRelease(taken + 8)"}}},
	{"tail is stored before the commit", "TestRing$/batch_dies", "the hints", []edit{{putGo,
		"	r.word(p.pos).StoreRelease(first) // the commit point\n",
		"	r.tail.StoreRelease(end)\n	r.word(p.pos).StoreRelease(first) // the commit point\n"}}},
	{"a record that is given back leaves no mark", "TestRingLeases/two", "", []edit{{ackGo,
		"		q.again.Store(1)\n		q.notEmpty.Wake(1)", "		q.notEmpty.Wake(1)"}}},
	{"a subscriber does not store the number at its cursor", rowScenes + "TestSchedulesOfWaiting", "the hints", []edit{{
		"internal/row/subscriber.go", "	s.next.StoreRelease(number)\n", ""}}},
	{"the floor of a topic is stored without a fence", rowScenes + "TestSchedulesOfStoreBuffers", "", []edit{{roomGo,
		"t.floor.Swap(to)", "t.floor.StoreRelease(to)"}}},
	{"a sleeper relies on wakers that were only asked to fence", "TestEventStoreBuffers", forEver, []edit{{eventGo,
		"		if v&allFence != 0 {", "		if v&fences != 0 {"}}},
	{"a waker that sees a request to fence does not", "TestEventStoreBuffers", forEver, []edit{{eventGo,
		"	mem.Full()\n", ""}}},
	{"wakers are said to fence without a look whether they still do", "TestEventStoreBuffers", forEver, []edit{{eventGo,
		"		if e.word.CAS(v, v|allFence) {", "		if e.word.Or(allFence); true {"}}},
	{"wakers are said to fence before the heavy fence", "TestEventStoreBuffers", forEver, []edit{{eventGo,
		"		v, was := v|bit|fences, v\n", "		v, was := v|bit|fences|allFence, v\n"}}},
	{"a removal takes the sleepers' bits back within a generation", "TestRemoval/two", forEver, []edit{{eventGo,
		"	e.word.CAS(v, v&^anybody+generation)\n", "	e.word.CAS(v, v&^anybody)\n"}}},
	{"the mark that all wakers fence outlasts the request to fence", "TestEventStoreBuffers", forEver, []edit{{eventGo,
		"		e.word.CAS(v, v&^(fences|allFence))", "		e.word.CAS(v, v&^fences)"}}},
	{"a request to fence is taken back by a store", "TestEventStoreBuffers", forEver, []edit{{eventGo,
		"		e.word.CAS(v, v&^(fences|allFence))", "		e.word.Store(v &^ (fences | allFence))"}}},
	{"bits of sleepers are taken back within a generation", "TestEventStoreBuffers", forEver, []edit{{eventGo,
		"	next := v&^anybody + generation\n", "	next := v &^ anybody\n"}, {eventGo,
		"		next = v&^onFutex + generation // the", "		next = v &^ onFutex // the"}}},
	{"a waker that has seen a sleeper does not fence", "TestEventStoreBuffers", forEver, []edit{{eventGo,
		"	if e.word.Load()&(anybody|fences) != 0 {\n		e.fenceAndWake(n)",
		"	if v := e.word.Load(); v&anybody != 0 {\n		e.wakeSlow(v, n)\n	} else if v&fences != 0 {\n		e.fenceAndWake(n)"}}},
	{"a sleeper relies on a bit of the other kind", "TestBell/(one|two)", forEver, []edit{{eventGo,
		"if v&bit != 0 || e.word.CAS(v, v|bit) {", "if v&anybody != 0 || e.word.CAS(v, v|bit) {"}}},
	{"producers are not told of a move that has begun", "TestMoves/one_dies,", "are missing", []edit{{moveGo,
		"		q.seen.StoreRelease(q.seen.Load() | 1)\n", ""}}},
	{"a move is noted after its commit", "TestMoves/one_dies", "table of moves", []edit{{moveGo,
		"	q.names.set(to.Name, to.Queue.id)\n	q.moving.StoreRelease(pos + 1)\n", "	defer q.moving.StoreRelease(0)\n"}}},
	{"the entry of a move becomes free before the record is done", "TestMoves/one_dies", "are missing", []edit{{moveGo,
		"	ok := q.word(pos+wordSize).CAS(st, stateDone)\n	to.Queue.arrivals.forget(q.id, pos)\n",
		"	to.Queue.arrivals.forget(q.id, pos)\n	ok := q.word(pos+wordSize).CAS(st, stateDone)\n"}}},
}

// TestMutants puts each fault into the code, by an overlay of the file, and sees its scene fail. That takes the
// compiler some seconds each, so it is done on demand:
//
//	SHIPLAP_EXPLORE_MUTANTS=1 go test -tags explore -timeout 60m -run TestMutants -v ./internal/explore
//
// Without that, it looks whether the mutants still fit the code.
func TestMutants(t *testing.T) {
	root, err := filepath.Abs("../..")
	must(err)
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			texts := map[string]string{}
			for _, e := range m.edits {
				file := filepath.Join(root, e.file)
				if texts[file] == "" {
					b, err := os.ReadFile(file)
					must(err)
					texts[file] = string(b)
				}
				if n := strings.Count(texts[file], e.old); n != 1 {
					t.Fatalf("%s has %d places that read\n%s", e.file, n, e.old)
				}
				texts[file] = strings.Replace(texts[file], e.old, e.new, 1)
			}
			if os.Getenv("SHIPLAP_EXPLORE_MUTANTS") == "" {
				return
			}
			scene, in := m.scene, "internal/explore"
			if s, ok := strings.CutPrefix(scene, rowScenes); ok {
				scene, in = s, "internal/row"
			}
			out, err := exec.Command("go", "test", "-tags", "explore", "-vet", "off", "-count", "1", "-failfast",
				"-overlay", overlay(t, texts), "-run", scene, filepath.Join(root, in)).CombinedOutput()
			switch {
			case err == nil:
				t.Errorf("%s did not find it", m.scene)
			case !strings.Contains(string(out), "schedule: "), !strings.Contains(string(out), m.like):
				t.Errorf("%s failed otherwise than with %q:\n%s", m.scene, m.like, out)
			}
		})
	}
}

// overlay is a file for -overlay that replaces files by texts.
func overlay(t *testing.T, texts map[string]string) string {
	dir, replace := t.TempDir(), map[string]string{}
	for file, text := range texts {
		to := filepath.Join(dir, strconv.Itoa(len(replace))+".go")
		must(os.WriteFile(to, []byte(text), 0o600))
		replace[file] = to
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	must(err)
	name := filepath.Join(dir, "overlay.json")
	must(os.WriteFile(name, b, 0o600))
	return name
}
