// Command race runs the scenes of internal/racetest for as long as it is told to, and counts
// violations:
//
//	go run ./internal/racetest/cmd/race -for 60m
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/racetest"
)

const help = `Race real processes against each other, over every kind of object, and count
what must not happen: two owners of a lock, a lock taken from a living owner,
messages lost or doubled, calls that do not return, crashes, leaks.

usage: race [-for 60m] [-only regexp] [-seed N] [-json]

  race -list                     name the scenes
  race -for 60m                  all scenes, in turns, for an hour
  race -for 1m -only mutex       only those whose names match
  race -only '^mutex storm$' -seed 7 -bouts 1
                                 one bout again, as a violation names it
  race -faults -for 5m           put each fault of the past back into the code,
                                 and look whether the scenes find it in 5 minutes

Ctrl-C ends it early; what was counted so far is printed. The exit code is 0 if
nothing was found (with -faults: if each was), 1 if something was, 2 if the
command could not run.

`

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	racetest.Main()
	f := flag.NewFlagSet("race", flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprint(f.Output(), help)
		f.PrintDefaults()
	}
	var (
		r     = &racetest.Run{Log: os.Stderr}
		only  = f.String("only", "", "run the scenes whose names match this regular expression")
		spell = f.Duration("for", time.Minute, "run for this long; a bout that has begun is finished")
		bouts = f.Int("bouts", 0, "run this many bouts of each scene instead of for a time")
		asked = f.Bool("list", false, "name the scenes and exit")
		sky   = f.String("weather", "",
			"what happens in all bouts, as kill+stop+fork+exec+remove+wipe+stay or calm; empty: at random")
		less = f.String("without", "",
			"leave out these harms and ways in which waits end, separated by commas")
		back = f.Bool("faults", false,
			"put faults of the past back, one after the other, and look whether the scenes find them")
		first = f.Bool("first", false, "end at the first violation")
		raw   = f.Bool("json", false, "print the counts as JSON, with delays by scene")
	)
	f.Uint64Var(&r.Seed, "seed", 0, "seed of the first bout; 0 means a random one")
	f.DurationVar(&r.Bound, "bound", racetest.DefaultBound,
		"call a wait a hang when it lasts this much longer than it may")
	f.IntVar(&r.Harms, "harms", racetest.DefaultHarms, "do harm this often in a bout")
	f.StringVar(&r.Dir, "dir", "/dev/shm", "directory on a tmpfs for the domains")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case f.NArg() > 0:
		fmt.Fprintf(os.Stderr, "race: unknown argument %q; see race -help\n", f.Arg(0))
		return 2
	}
	if *back {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return putBack(ctx, *only, *spell)
	}
	if *only != "" {
		if err := r.Choose(*only); err != nil {
			fmt.Fprintln(os.Stderr, "race:", err)
			return 2
		}
	}
	if *sky != "" {
		w, err := racetest.ParseWeather(*sky)
		if err != nil {
			fmt.Fprintln(os.Stderr, "race:", err)
			return 2
		}
		r.Weather = &w
	}
	if *less != "" {
		r.Without = strings.Split(*less, ",")
	}
	names := r.Scenes()
	if *asked {
		fmt.Println(strings.Join(names, "\n"))
		return 0
	}
	if len(names) == 0 {
		fmt.Fprintf(os.Stderr, "race: no scene's name matches %q; see race -list\n", *only)
		return 2
	}
	if r.Seed == 0 {
		r.Seed = rand.Uint64() >> 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	begin := time.Now()
	err := all(ctx, r, names, *spell, *bouts, *first)
	if *raw {
		printJSON(r, begin)
	} else {
		print(os.Stdout, r, begin)
	}
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "race:", err)
		return 2
	case len(r.Violations()) > 0:
		return 1
	}
	return 0
}

// all runs the scenes in turns until the time is up.
func all(ctx context.Context, r *racetest.Run, names []string, spell time.Duration, bouts int,
	first bool) error {
	begin, told := time.Now(), time.Now()
	seed := r.Seed
	for n := 0; bouts == 0 || n < bouts; n++ {
		for _, name := range names {
			found := first && len(r.Violations()) > 0
			if found || ctx.Err() != nil || bouts == 0 && time.Since(begin) > spell {
				return nil
			}
			if err := r.Bout(ctx, name, seed); err != nil {
				return err
			}
			if bouts == 0 || bouts > 1 {
				seed++
			}
			if time.Since(told) > 10*time.Second {
				told = time.Now()
				fmt.Fprintf(os.Stderr, "%v: %d turns of all scenes, %d violations, load %s\n",
					time.Since(begin).Round(time.Second), n, len(r.Violations()), racetest.Load())
			}
		}
	}
	return nil
}

func print(out io.Writer, r *racetest.Run, begin time.Time) {
	total := map[string]*racetest.Delays{}
	for _, t := range r.Tallies() {
		fmt.Fprintf(out, "%-36s %5d bouts %s\n", t.Scene, t.Bouts, counts(t.Counts))
		for way, d := range t.Delays {
			if total[way] == nil {
				total[way] = new(racetest.Delays)
			}
			total[way].Add(d)
		}
	}
	for _, way := range keys(total) {
		fmt.Fprintf(out, "told after %-18s %v\n", way+":", total[way])
	}
	byKind := map[string]int{}
	for _, v := range r.Violations() {
		byKind[v.Scene+": "+v.Kind]++
	}
	for _, k := range keys(byKind) {
		fmt.Fprintf(out, "VIOLATION %s, %d times\n", k, byKind[k])
	}
	fmt.Fprintf(out, "%d violations in %v; first seed %d; load %s\n", len(r.Violations()),
		time.Since(begin).Round(time.Second), r.Seed, racetest.Load())
}

func counts(m map[string]uint64) string {
	var all []string
	for _, k := range keys(m) {
		all = append(all, fmt.Sprintf("%d %s", m[k], k))
	}
	return strings.Join(all, ", ")
}

func keys[V any](m map[string]V) (all []string) {
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

func printJSON(r *racetest.Run, begin time.Time) {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	_ = e.Encode(struct {
		Seed       uint64               `json:"seed"`
		Seconds    float64              `json:"seconds"`
		Load       string               `json:"load"`
		Scenes     []racetest.Tally     `json:"scenes"`
		Violations []racetest.Violation `json:"violations"`
	}{r.Seed, time.Since(begin).Seconds(), racetest.Load(), r.Tallies(), r.Violations()})
}
