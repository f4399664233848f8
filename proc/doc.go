// Package proc starts processes, watches over them, and ends them: a child that dies is seen at once and restarted by
// policy; one that is told to stop gets time to do so, and is killed when that is over; and when the manager
// itself dies, by SIGKILL too, nothing of what it started survives, grandchildren included.
//
// A target is a Go function of this program, registered by name, which runs in a re-executed copy of it (what Python calls
// Process(target=…)), or any command:
//
//	func main() {
//		proc.Register("worker", func(ctx context.Context, self *proc.Child) error { … })
//		proc.Init() // does not return in a copy that runs a function
//
//		m, err := proc.New(domain, nil)
//		…
//		defer m.Close()
//		m.Add(proc.Spec{Name: "w1", Func: "worker", Restart: proc.OnFailure})
//		m.Add(proc.Spec{Name: "bot", Command: []string{"python3", "bot.py"}, After: []string{"w1"}})
//		err = m.StartAll(ctx)
//
// A copy begins as any process does: it does not see what the parent's variables hold by now.
//
// # How nothing survives
//
// The manager starts one small process more, the guardian: its own program again, taken over by Init. The guardian starts
// the children, each the leader of a process group, and reaps them. It holds a socket to the manager. When
// that closes, for whatever reason, it kills the groups, and then what is left of its descendants: it is
// their subreaper, so that what leaves its group and its parent comes to it. Last it sweeps the domain. If the guardian itself is
// killed, the kernel ends its children (PR_SET_PDEATHSIG), the manager kills their groups, and starts another one.
//
// Kill does the same at will: it ends all processes at once, when there is no time for Stop. Commands that probe whether a process is ready
// (Spec.ProbeCommand) are started, and ended, in the same way.
//
// Not ended are: what runs with other rights; when the guardian alone is killed, descendants that left their group; when guardian
// and manager are killed at the same moment, grandchildren.
//
// # The child's side
//
// A function gets a *Child; other Go programs call Self. Any program finds in its environment:
//
//	SHIPLAP_DOMAIN       name of the manager's domain
//	SHIPLAP_DIR          directory below which domains lie
//	SHIPLAP_MANAGER      name of the manager
//	SHIPLAP_PROC         name of the process
//	SHIPLAP_RESTARTS     how often it was restarted
//	SHIPLAP_ACTIVE       name of its active channel
//	SHIPLAP_PASSIVE      name of its passive channel
//	SHIPLAP_STOP_SIGNAL  number of the signal that asks it to stop
//	SHIPLAP_READY_FD     where to write a line when it is ready (with Ready: ReadyWord); a number
//
// in a shell: echo >&$SHIPLAP_READY_FD; in Python: os.write(int(os.environ["SHIPLAP_READY_FD"]), b"\n").
//
// Its standard input is /dev/null. It has no controlling terminal: Ctrl-C is for the manager's program, which calls StopAll.
//
// # Hooks
//
// Functions registered with OnBeforeStart and the like run one after the other, in the order in which they were registered, and hold up
// the process they are about, not others. A hook must not wait for its own process (Start, Stop, Restart, Wait): a goroutine may. One
// that panics is logged. Registering counts for what happens from then on. Start and Restart return when the hooks after the start are through.
//
// # From outside
//
// A manager listens in its domain: Managers lists them, Dial talks with one: states, start, stop, restart, signals.
// What happens is published on a topic: see Events.
package proc
