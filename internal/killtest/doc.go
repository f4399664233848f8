// Package killtest kills a process at every machine instruction of one operation, and lets survivors check
// that the shared object is still usable. It promises the tests of this module that what they call "killed at
// step k" is exact: the victim executed k instructions of the operation, and not one more.
//
// A test package declares scenarios and hands them to RunVictim first thing in TestMain, because the victim is
// the test binary itself, executed again:
//
//	var put = killtest.Scenario{
//		Name:   "queue.Put",
//		Covers: []string{"queue.Raw.Put"},
//		Setup: func(t *killtest.Trial) (any, error) { return create(t.Dir) },
//		Prepare: func(v *killtest.Victim) (func() error, error) {
//			q, err := open(v.Dir)
//			return func() error { return q.Put(message) }, err
//		},
//		Check: func(t *killtest.Trial, state any) error { return state.(*queue).wantNoneOrWhole(t.Done) },
//	}
//
//	func TestMain(m *testing.M) { killtest.Main(m, put) }
//
//	func TestPutKilledAnywhere(t *testing.T) { killtest.Run(t, put, killtest.Options{Kill: true}) }
//
// # How a trial works
//
// Setup makes the object. The victim starts under ptrace, runs Prepare at full speed, stops at a breakpoint, and is
// then stepped through the operation. At step k it is killed with SIGKILL and reaped, so that everything the kernel
// releases on death has been released; then Check runs. Only the main thread is stepped; the other threads of the
// victim's runtime are held still meanwhile (they are let go when the main thread blocks in a system call, as it
// may be waiting for one of them), which keeps the number of instructions the same from run to run. A system call
// is one step. The binary is the production build, without instrumentation; under the race detector Run skips.
// The victim runs with GOMAXPROCS=1 and without garbage collection and asynchronous preemption; it sees all CPUs. It does
// not register for membarrier, which others do when they are 20 ms old, so that its release stores are full fences; it does
// not measure how long a pause takes, and polls for some dozen steps only; and no profile samples its allocations. So its
// way depends on no clock and no chance. An operation must not need a second thread for that: two never take turns alike.
//
// # Which steps
//
// A recording pass steps through the operation and notes its effects: the steps that enter the kernel, or
// that change a byte of any shared mapping. Between two effects all steps look the same from outside. Kills
// happen right before and right after each effect, and at every other step as far as the budget goes: at
// stride 1 every instruction is covered, at stride s every s-th of the rest. The phase of the stride is
// SHIPLAP_KILL_PHASE, by default 0: a run depends on the code and its settings, and on no date. .ci/run takes the phase
// from the commit. Passes are made until two in a row went the same way, which must be that of most victims.
//
// A quick run, which neither CI nor the environment asked to be thorough (see Thorough), thins the effects, too,
// and makes a single pass, so that go test ends within minutes. It tries fewer still if its results are not kept.
//
// Positioning uses a hardware breakpoint on an instruction near the wanted one, whose n-th execution the recording
// knows, and single steps from there; where there are no hardware breakpoints, single steps all the way. A trial
// that does not end up at the instruction recorded for its step (map order, time, a retry) still counts as a kill,
// and is made again, up to twice; Result.Drifted counts the steps where that did not help. After twenty such steps in
// a row nothing is made again until a step is found.
//
// A survivor that does everything right but takes longer than Prompt may be slow because the machine is busy, and so
// may a victim that makes no step within Options.Timeout. Such a trial is made again, up to four times, and is a
// violation if it is late each time. Result.Repeated counts them.
//
// # Interruptions
//
// Options.Interrupt asks for trials of another kind, in which the operation is disturbed instead (see Interruption): its
// context ends, its handle is closed, or its system call fails. A second thread of the victim does that while the main
// thread stands still; so these victims have GOMAXPROCS=2, of which that thread has one until it gets its order, and what
// they do is recorded anew. Contexts end if the
// scenario takes them from Background. The interruption comes at a step, or, with a Grab, in the first wait after one.
//
// # Limits
//
// The recording sees stores by content: a store of the value that was there is no effect. Of a shared mapping larger
// than 16 MiB only that much is watched. On arm64 without LSE atomics a load-exclusive/store-exclusive loop never
// ends under single steps; Scenario.MaxSteps turns that into an error. A grandchild that the operation starts
// is not traced and outlives the victim.
//
// # Environment
//
//	SHIPLAP_KILL_FULL=1      every instruction, whatever it takes (use with go test -timeout 0)
//	SHIPLAP_KILL_BUDGET=10s  every effect, and as many other steps as take that time, for each scenario
//	SHIPLAP_KILL_STRIDE=n    a fixed stride instead of the one that fits the budget
//	SHIPLAP_KILL_PHASE=n     the phase of the stride, and which interruptions take turns
//	SHIPLAP_KILL_WORKERS=n   trials side by side
//	SHIPLAP_COVERAGE_DIR=d   write the results of this test binary to a file in d, for cmd/coverage
package killtest
