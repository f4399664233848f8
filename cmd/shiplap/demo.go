package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
)

func newDemoCmd(at *place) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "See it work while processes get killed",
		Long: `Start real processes that talk through shared memory, kill -9 some of them at the worst moments, and check that
nobody is stuck and nothing is lost. It takes a few seconds and works in a domain of its own, which is removed
at the end. Exit code 0 says that every check held.`,
		Example: `  shiplap demo`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDemo(cmd.Context(), cmd.OutOrStdout(), at.dir)
		},
	}
}

type demo struct {
	ctx    context.Context
	w      io.Writer
	at     *place
	d      *shiplap.Domain
	kids   []*kid
	acts   int
	checks int
	failed int
	rates  [][2]string
}

func runDemo(ctx context.Context, w io.Writer, dir string) (err error) {
	// Children are told to die with the thread that started them, so it has to stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	s := &demo{ctx: ctx, w: w, at: &place{dir, fmt.Sprintf("demo-%08x", rand.Uint32())}}
	if s.d, err = s.at.join(); err != nil {
		return err
	}
	defer s.close()
	s.say("Processes share memory while some of them are killed.\nAll are real processes, in the domain %q at %s.\n", s.at.domain, s.d.Dir())
	acts := []func() error{s.actQueue, s.actPipe, s.actHolder, s.actTurns, s.actWorkers, s.actProducer, s.actStore, s.actManager, s.actRates}
	for _, act := range acts {
		if err := act(); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("demo, part %d: %w", s.acts, err)
		}
		s.endKids()
	}
	s.say("")
	if s.failed > 0 {
		return exitError{error: fmt.Errorf("%d of %d checks did not hold", s.failed, s.checks), code: exitFailure,
			next: "shiplap doctor; then please report it with this output"}
	}
	s.say("All %d checks held.", s.checks)
	return nil
}

// close ends what still runs and takes the domain away.
func (s *demo) close() {
	s.endKids()
	path := s.d.Dir()
	s.d.Close()
	os.RemoveAll(path)
}

func (s *demo) say(format string, a ...any) { fmt.Fprintf(s.w, format+"\n", a...) }

func (s *demo) act(title string) {
	s.acts++
	s.say("%d. %s", s.acts, title)
}

func (s *demo) tell(format string, a ...any) {
	s.say("   " + strings.ReplaceAll(fmt.Sprintf(format, a...), "\n", "\n   "))
}

func (s *demo) check(ok bool, format string, a ...any) {
	s.checks++
	mark := "ok    "
	if !ok {
		s.failed++
		mark = "FAILED"
	}
	s.say("   %s %s", mark, fmt.Sprintf(format, a...))
}

// within is the longest that others may need to go on after a death (promise P1).
const within = 100 * time.Millisecond

func (s *demo) checkSoon(d, late time.Duration, what string) {
	promised := fmt.Sprintf("promised: %d ms", within.Milliseconds())
	if late > within/10 {
		promised += fmt.Sprintf("; the machine is busy and was %d ms late itself", late.Milliseconds())
	}
	s.check(d <= within+2*late, "%s %.1f ms after the kill (%s)", what, float64(d)/1e6, promised)
}

// tally counts how often each number of 0…n-1 came.
type tally struct {
	seen  []uint8
	other int // numbers that nobody put
}

func newTally(n int) *tally { return &tally{seen: make([]uint8, n)} }

func (t *tally) add(n uint64) {
	if n >= uint64(len(t.seen)) {
		t.other++
	} else if t.seen[n] < 255 {
		t.seen[n]++
	}
}

func (t *tally) result() (missing, doubled, other int) {
	for _, n := range t.seen {
		switch {
		case n == 0:
			missing++
		case n > 1:
			doubled += int(n) - 1
		}
	}
	return missing, doubled, t.other
}
