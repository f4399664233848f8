//go:build linux

// Bench compares Shiplap's store with Redis, with LMDB, and with a bare hash table in C: the same load, in turns, on this
// machine. README.md says how it measures.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"syscall"
	"time"
)

// The load: what all clients have in common with c/load.c.
const (
	nKeys    = 100_000
	keyLen   = 16
	valueLen = 64
	look     = 32 // operations between two looks at the clock
	clients  = 2
)

// mix is how many of a hundred operations are reads.
type mix int

var mixes = []mix{95, 50}

func (m mix) String() string { return fmt.Sprintf("%d/%d", int(m), 100-int(m)) }

type config struct {
	duration time.Duration // of a round of one store
	warmup   time.Duration
	rounds   int
	only     *regexp.Regexp
	uniform  bool
	pin      bool
	dir      string
	self     []string // runs ownClient in a process of its own
	note     func(string)
}

func main() {
	runtime.LockOSThread() // the server dies with the thread that started it: see spawn
	if len(os.Args) > 1 && os.Args[1] == "client" {
		if err := ownClient(os.Args[2:]); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "bench: stopped")
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cfg := config{self: []string{self, "client"}, note: func(s string) { fmt.Fprintln(stderr, s) }}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, "Compares Shiplap's store with Redis, LMDB and a bare hash table in C. See README.md.\n\n"+
			"  go run . --rounds 5\n  go run . --only 'shiplap|lmdb' --json > result.json\n\n")
		fs.PrintDefaults()
	}
	fs.DurationVar(&cfg.duration, "duration", 200*time.Millisecond, "how long each store is measured in a round, for each mix")
	fs.IntVar(&cfg.rounds, "rounds", 15, "how often the stores take turns")
	only := fs.String("only", "", "measure only the stores that match this regular expression, of "+names())
	fs.BoolVar(&cfg.uniform, "uniform", false, "draw keys evenly, instead of some more often than others (Zipf, exponent 0.99)")
	fs.BoolVar(&cfg.pin, "pin", false, "bind each client to a processor of its own (the server may run on all)")
	fs.StringVar(&cfg.dir, "dir", "/dev/shm", "directory in memory that the stores lie in")
	asJSON := fs.Bool("json", false, "print JSON, with the figures of every round")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see --help", fs.Arg(0))
	}
	if cfg.rounds < 1 || cfg.duration < time.Millisecond {
		return fmt.Errorf("--rounds %d --duration %v: at least 1 and 1ms are needed", cfg.rounds, cfg.duration)
	}
	if cfg.only, err = regexp.Compile(*only); err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	cfg.warmup = min(cfg.duration/4, 50*time.Millisecond)
	rep, err := measure(ctx, cfg)
	if err != nil {
		return err
	}
	if *asJSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return e.Encode(rep)
	}
	return rep.table(stdout)
}
