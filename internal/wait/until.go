package wait

import (
	"context"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Owners tells who is alive. Package member implements it.
type Owners interface {
	// Self is the token of this process, never 0, bit 31 clear.
	Self() uint32
	// Dead reports that the kernel proves the owner of a token gone. It is a level: once true it
	// stays true. It never is for Self.
	Dead(token uint32) bool
	// Watch has poke called when Dead(token) may have become true, and again every MaxSleep while it
	// is, until stop. It is a hint: poke may come without a cause, and still run while stop does.
	Watch(token uint32, poke func()) (stop func())
}

// Until is what a blocked call waits for. All that can end the wait is asked in Look; whatever makes the next
// Look come earlier (a wake-up, a death notice, a cancelled context) is a hint that may be lost.
type Until interface {
	// Look is the whole condition, asked on the waiting goroutine. It first says what to sleep on (Call.Arm or
	// Call.On), then looks at everything that may end the wait, and names with Call.Depend the processes
	// whose deaths would change its answer. over ends the wait with success, err with failure.
	Look(c *Call) (over bool, err error)
	// Stale reports cheaply, from any goroutine, that Look may answer otherwise by now. Sleepers that
	// share a thread are looked at this way every MaxSleep.
	Stale() bool
	// Abandon is called when a wait that slept ends because of its context or its handle, or when a waker has counted on
	// it that was not asleep: it passes on the wake-up that the wait may have used up.
	Abandon()
}

const (
	// crowdedSleep is how long one of many sleepers goes without a Look of its own; Stale is asked
	// every MaxSleep.
	crowdedSleep = 16 * MaxSleep
	// unsettled bounds the sleep of a Look that names new processes each time it is asked.
	unsettled = time.Millisecond
)

// Wait blocks until u is over. It returns the cause of ctx when that is done, and what the session was
// interrupted with; apart from those, the errors of u.
//
//	arm → ask everything → (newly watched: ask again) → sleep, MaxSleep at most → ask again
func (s *Session) Wait(ctx context.Context, u Until) (err error) {
	if ctx.Err() != nil { // also where hostile bytes make the caller come back again and again
		return context.Cause(ctx)
	}
	c := s.begin(ctx)
	c.until = u
	defer c.end()
	ended, err := c.loop()
	if c.b.Leave() || ended && c.slept {
		u.Abandon()
	}
	return err
}

// loop looks and sleeps until the wait is over. ended reports that not the Look has ended it.
func (c *Call) loop() (ended bool, err error) {
	for {
		over, err := c.look()
		if err == nil && !over && c.renewed {
			over, err = c.look() // a process may have died before it was watched
			if c.renewed {
				c.Bound(unsettled)
			}
		}
		if over || err != nil {
			return false, err
		}
		if err = c.Err(); err == nil {
			err = c.sleep()
		}
		if err != nil {
			return true, err
		}
	}
}

// look asks u once.
func (c *Call) look() (over bool, err error) {
	c.word, c.rings, c.bound, c.renewed = nil, nil, 0, false
	c.round++
	over, err = c.until.Look(c)
	c.looked = true
	c.dropOld()
	return over, err
}

// Arm says that the sleep is on an event: what is published after Arm returned ends it. While the word is what it was
// when this call armed it, the bit has been set all the time, and the fence need not be repeated: what was published
// before the fence is visible to every later look, and who publishes after it sees the bit.
//
// On a bell the sleep is registered until a ring has come, and the fence is as old as the registration.
func (c *Call) Arm(e Event) {
	if c.armBell(e) {
		c.word, c.rings = e.word, e.line
		return
	}
	if w := e.Word(); c.armed != w || w.Load() != c.armedAt {
		c.armed, c.armedAt = w, e.Arm()
	}
	c.On(c.armed, c.armedAt)
}

// armBell registers the call on the event's line, if it has one and there is room.
func (c *Call) armBell(e Event) bool {
	switch {
	case e.line == nil:
		return false
	case c.b.Armed(e.line):
		return true
	}
	c.b.Leave() // it was armed elsewhere, or has been rung since, and looks now
	if c.takeSeat() || !c.b.Arm(e.line) {
		return false
	}
	e.announce(onBell)
	return true
}

// On says that the sleep is on a word, while it holds seen.
func (c *Call) On(word *mem.U32, seen uint32) { c.word, c.seen, c.rings = word, seen, nil }

// Bound makes the next sleep shorter than MaxSleep.
func (c *Call) Bound(d time.Duration) { c.bound = d }

// First reports that this is the first Look of the wait.
func (c *Call) First() bool { return !c.looked }

// Slept reports that the wait has slept before.
func (c *Call) Slept() bool { return c.slept }

// Crowded reports that so many sleep in this process that one more would share a thread.
func Crowded() bool { return futex.Crowded() }

// dependency is a process whose death would change the answer of Look.
type dependency struct {
	token uint32
	round uint32 // of the last Look that named it
	stop  func()
}

// Depend makes the death of a process end the sleep. Look calls it before it asks whether the process is
// dead; if it is new, Look is asked once more before the sleep.
func (c *Call) Depend(o Owners, token uint32) {
	if token == o.Self() {
		return
	}
	i, ok := c.index[token]
	if c.index == nil {
		for j := range c.deps {
			if c.deps[j].token == token {
				i, ok = j, true
				break
			}
		}
	}
	if ok {
		c.deps[i].round = c.round
		return
	}
	c.renewed = true
	c.deps = append(c.deps, dependency{token, c.round, o.Watch(token, c.poke)})
	if len(c.deps) > manyDeps && c.index == nil {
		c.reindex()
	} else if c.index != nil {
		c.index[token] = len(c.deps) - 1
	}
}

// manyDeps is from how many on dependencies are found through a map.
const manyDeps = 16

func (c *Call) reindex() {
	c.index = nil
	if len(c.deps) <= manyDeps {
		return
	}
	c.index = make(map[uint32]int, 2*len(c.deps))
	for i, d := range c.deps {
		c.index[d.token] = i
	}
}

// dropOld ends the watches that the last Look did not name any more.
func (c *Call) dropOld() {
	kept := c.deps[:0]
	for _, d := range c.deps {
		if d.round == c.round {
			kept = append(kept, d)
		} else {
			d.stop()
		}
	}
	if len(kept) == len(c.deps) {
		return
	}
	clear(c.deps[len(kept):])
	c.deps = kept
	c.reindex()
}

// dropAll ends all watches.
func (c *Call) dropAll() {
	for _, d := range c.deps {
		d.stop()
	}
	clear(c.deps)
	c.deps, c.index = c.deps[:0], nil
}
