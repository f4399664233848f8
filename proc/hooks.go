package proc

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/topic"
)

// hooks are functions of the manager's program.
type hooks struct {
	beforeStart, afterStart       []func(name string)
	beforeShutdown, afterShutdown []func(name string)
	beforeRestart, afterRestart   []func(name string)
	unexpected                    []func(name string, exit Exit)
	event                         []func(Event)
}

// OnBeforeStart registers a function that runs before each start of a process.
func (m *Manager) OnBeforeStart(f func(name string)) { hook(m, &m.hooks.beforeStart, f) }

// OnAfterStart registers a function that runs after each start, when the process is ready.
func (m *Manager) OnAfterStart(f func(name string)) { hook(m, &m.hooks.afterStart, f) }

// OnBeforeShutdown registers a function that runs before a process is asked to stop.
func (m *Manager) OnBeforeShutdown(f func(name string)) { hook(m, &m.hooks.beforeShutdown, f) }

// OnAfterShutdown registers a function that runs after a process stopped that was asked to.
func (m *Manager) OnAfterShutdown(f func(name string)) { hook(m, &m.hooks.afterShutdown, f) }

// OnBeforeRestart registers a function that runs before a process is restarted: by policy, after the back-off, or by Restart,
// before it is stopped.
func (m *Manager) OnBeforeRestart(f func(name string)) { hook(m, &m.hooks.beforeRestart, f) }

// OnAfterRestart registers a function that runs after a restart, when the process is ready again.
func (m *Manager) OnAfterRestart(f func(name string)) { hook(m, &m.hooks.afterRestart, f) }

// OnUnexpectedExit registers a function that runs as soon as a process ended that was not asked to, unless it
// exited with code 0 and its policy leaves it at that.
func (m *Manager) OnUnexpectedExit(f func(name string, exit Exit)) { hook(m, &m.hooks.unexpected, f) }

// OnEvent registers a function that gets every event. Those of a process come in order; that one is done may come after
// the start of another one that waited for it.
func (m *Manager) OnEvent(f func(Event)) { hook(m, &m.hooks.event, f) }

func hook[F any](m *Manager, to *[]F, f F) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*to = append((*to)[:len(*to):len(*to)], f) // whoever runs the old ones keeps them
}

func (m *Manager) runHooks(which *[]func(string), name string) {
	m.mu.Lock()
	all := *which
	m.mu.Unlock()
	for _, f := range all {
		m.safely(func() { f(name) })
	}
}

func (m *Manager) safely(f func()) {
	defer func() {
		if v := recover(); v != nil {
			m.log.Error("a hook panicked", "manager", m.name, "panic", fmt.Sprint(v), "at", panicLine(debug.Stack()))
		}
	}()
	f()
}

// panicLine is where a panic came from: the place below that of panic itself.
func panicLine(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "panic(") && i+3 < len(lines) {
			place, _, _ := strings.Cut(strings.TrimSpace(lines[i+3]), " +")
			return place
		}
	}
	return string(stack)
}

// EventKind says what happened to a process.
type EventKind string

const (
	EventStarting   EventKind = "starting" // it runs
	EventReady      EventKind = "ready"
	EventStopping   EventKind = "stopping"   // it was asked to stop
	EventExited     EventKind = "exited"     // see Exit
	EventRestarting EventKind = "restarting" // after Delay
	EventStopped    EventKind = "stopped"    // at rest: it was asked to stop
	EventDone       EventKind = "done"       // at rest, with success
	EventFailed     EventKind = "failed"     // at rest: see Problem
)

// Event is something that happened to a process.
type Event struct {
	Time    time.Time     `json:"time"`
	Manager string        `json:"manager"`
	Process string        `json:"process"`
	Kind    EventKind     `json:"kind"`
	Pid     int           `json:"pid,omitempty"`
	Exit    *Exit         `json:"exit,omitempty"`
	Delay   time.Duration `json:"delay,omitempty"` // ns
	Problem string        `json:"problem,omitempty"`
}

// String is one line for people.
func (e Event) String() string {
	s := fmt.Sprintf("%s %s", e.Process, e.Kind)
	if e.Pid != 0 {
		s += fmt.Sprintf(" (pid %d)", e.Pid)
	}
	if e.Exit != nil {
		s += ": " + e.Exit.String()
	}
	if e.Kind == EventRestarting {
		s += fmt.Sprintf(" in %v", e.Delay.Round(time.Millisecond))
	}
	if e.Problem != "" {
		s += ": " + e.Problem
	}
	return s
}

func (m *Manager) emit(e Event) {
	e.Time, e.Manager = time.Now(), m.name
	m.mu.Lock()
	all := m.hooks.event
	m.mu.Unlock()
	if m.events != nil {
		// No subscriber holds us up (the topic overwrites), only another publisher can, who should not be there.
		ctx, cancel := context.WithTimeout(m.ctx, publishPatience)
		if err := m.events.Publish(ctx, e); err != nil {
			m.log.Warn("an event was not published", "manager", m.name, "event", e.String(), "error", err)
		}
		cancel()
	}
	for _, f := range all {
		m.safely(func() { f(e) })
	}
}

const publishPatience = 100 * time.Millisecond

// eventsSuffix is what stands behind the manager's name in that of its topic.
const eventsSuffix = ".events"

// announce makes the topic of events.
func (m *Manager) announce() error {
	t, err := openEvents(m.d, m.name)
	if err != nil {
		return fmt.Errorf("process manager %q: %w", m.name, err)
	}
	m.events = t
	return nil
}

func openEvents(d *shiplap.Domain, manager string) (*topic.Topic[Event], error) {
	return topic.OpenOrCreate[Event](d, manager+eventsSuffix, &topic.Options{Capacity: 256 << 10, Policy: topic.Overwrite, Subscribers: 64,
		Ephemeral: true, Label: "events of a process manager", Codec: topic.JSON})
}

// Events opens the topic on which the manager of that name ("" is DefaultName) publishes what happens to its processes, as JSON for whoever reads it
// otherwise. It can be opened before there is such a manager, and stays when the manager is succeeded by another one.
func Events(d *shiplap.Domain, manager string) (*topic.Topic[Event], error) {
	set(&manager, DefaultName)
	if err := checkName("manager", manager); err != nil {
		return nil, err
	}
	return openEvents(d, manager)
}
