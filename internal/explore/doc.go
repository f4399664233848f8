// Package explore runs the algorithms that processes share under every schedule, instead of under
// those that happen. It promises that a failure comes with the schedule that leads to it.
//
// In builds with the tag "explore" each access of a shared word (package mem) and each call of the
// kernel's futex (package futex) first comes here. The processes of an experiment are coroutines over
// the heap twin of a region; the scheduler lets one of them do one access, then chooses again:
// depth first through all choices, by running the experiment anew for each. A choice is
//
//   - which process does its next step, its switches from one that could have gone on being bounded
//     if wanted. Several coroutines may be goroutines of one process (System.Process);
//   - the death of a process: it stops for ever, at any access, and leaves the queues of the kernel;
//   - with Options.Window, when its locks are released, which is when others find it dead: a child
//     between fork and exec has them for a while;
//   - with Options.Watch, when the notice of that death reaches a process that watches it: any time
//     after the release, and with Options.Window once before it as well, when it comes too early;
//   - with Options.Buffers, which store that a StoreRelease left in a store buffer reaches the
//     memory (x86-TSO: first in, first out, forwarded to own loads, drained by any other store or
//     update, by a system call, and by Heavy in everybody). With Options.Weak a Store stays there as well,
//     and only updates drain it: so it is where LDAPR reads what Go and C wrote with STLR, and for arm64
//     code translated for amd64. Release stores never pass each other, there or here;
//   - the end of the bound of a sleep, if somebody died and nothing else can happen any more. Without
//     Options.Timeouts sleeps have no bounds: what wakes a process is a wake-up or a notice, or it is
//     reported as asleep for ever.
//
// The futex is emulated below futex.Waiter: a queue of sleepers per word, the comparison of the values
// one step with the entry into the queue, wake-ups in the order of arrival.
//
// A schedule is left as soon as it reaches a state that was seen before: memory, queues, store
// buffers, and for each process the row of all values it has read, which determine what it will do.
// Memory that is not read through words (payload) must be determined by what is: give each message
// a length of its own.
//
// Without the tag, only this page is left.
package explore
