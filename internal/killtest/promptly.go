package killtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Prompt is what promise P1 gives to those who need nobody alive.
const Prompt = 100 * time.Millisecond

// PromptExec is what it gives when a process ends its membership without dying: it calls exec.
const PromptExec = 250 * time.Millisecond

// limit is Prompt or PromptExec.
var limit atomic.Int64

func init() { limit.Store(int64(Prompt)) }

// lateError is the failure of a survivor that did everything right, but took too long.
type lateError time.Duration

func (e lateError) Error() string { return fmt.Sprintf("it took %v", time.Duration(e)) }

func (lateError) late() bool { return true }

// onlyLate reports that nothing is wrong but the time that something took: a survivor, or the victim, which made no
// step within Options.Timeout. On a busy machine that may be nobody's fault, so such a trial is made again. An error
// that hides another one's cause is not forgiven.
func onlyLate(err error) bool {
	switch e := err.(type) {
	case nil:
		return false
	case interface{ late() bool }:
		return e.late()
	case interface{ Unwrap() error }:
		return onlyLate(e.Unwrap())
	case interface{ Unwrap() []error }:
		all := e.Unwrap()
		return len(all) > 0 && !slices.ContainsFunc(all, func(err error) bool { return !onlyLate(err) })
	}
	return false
}

// Promptly runs what survivors do and fails if it took longer than Prompt. What the machine kept from us does not
// count: the time that our thread waited for a CPU, and the time by which short sleeps beside it were late, for
// a hypervisor stops all of us without telling. In a trial that is not all: see Result.Repeated.
func Promptly(what string, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	late, done := make(chan time.Duration, 1), make(chan struct{})
	go func() { late <- lateness(done) }()
	start, waited := time.Now(), runDelay()
	err := f(ctx)
	spent := time.Since(start) - (runDelay() - waited)
	close(done)
	most := time.Duration(limit.Load())
	if spent > most {
		spent -= <-late
	}
	if spent > most {
		err = errors.Join(err, lateError(spent))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Repeatedly makes a test that calls Promptly again, with a death of its own each time, while nothing but the time
// that it took is wrong.
func Repeatedly(f func() error) (err error) {
	for range 1 + repeats {
		if err = f(); !onlyLate(err) {
			return err
		}
	}
	return err
}

// repeats of a trial in which a survivor took too long. A fault takes too long each time; other load on the machine
// does not.
const repeats = 4

// lateness adds up by how much short sleeps took too long.
func lateness(done <-chan struct{}) (sum time.Duration) {
	const nap = time.Millisecond
	for {
		select {
		case <-done:
			return sum
		default:
		}
		t := time.Now()
		time.Sleep(nap)
		if over := time.Since(t) - 2*nap; over > 0 {
			sum += over
		}
	}
}

// runDelay is how long the calling thread has waited for a CPU, of all its life.
func runDelay() time.Duration {
	b, err := os.ReadFile("/proc/thread-self/schedstat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), " ")
	ns, _, _ := strings.Cut(rest, " ")
	n, _ := strconv.ParseInt(ns, 10, 64)
	return time.Duration(n)
}
