package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/shiplap-ipc/shiplap/internal/bench"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

type benchReport struct {
	Results []bench.Result `json:"results"`
	Goals   []bench.Goal   `json:"goals"`
	Others  float64        `json:"others"` // share of the machine that other processes took meanwhile, 0 to 1
}

// muchElse is the share of the machine from which on others disturb.
const muchElse = 0.1

func newBenchCmd() *cobra.Command {
	var scale float64
	var only string
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure, beside the limits of this machine and what else there is",
		Long: `Measures between two processes, in turns within one run: the limits of the machine (a cache line that
two processors pass to and fro, a copy in and out of shared memory, a bare futex), Shiplap, a Go channel,
os.Pipe and Unix sockets; then locks, and under the names "store", "watch", "topic", "rpc" and "proc" what these packages
cost between processes.

Virtual machines often have their processors moved about. Before and after each slice of 10 ms the run
looks how far apart they are: "near" slices are compared with "near" ones. The last table shows each
figure beside what it has to reach. Compare within a run; figures of different runs mean little.`,
		Example: `  shiplap bench
  shiplap bench --only 'queue|limit' --scale 0.2
  shiplap bench --only '^(store|watch|topic|rpc|proc)$'
  shiplap bench --json > result.json`,
		Args: cobra.NoArgs,
	}
	asJSON := jsonFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		want, err := regexp.Compile(only)
		if err != nil {
			return usagef("--only: %v", err)
		}
		if scale <= 0 || scale > 100 {
			return usagef("--scale %g: not in (0, 100]", scale)
		}
		dir, err := cmd.Flags().GetString("dir")
		if err != nil {
			return err
		}
		rep, err := runBench(cmd.Context(), segment.Base(dir), scale, want)
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd, rep)
		}
		return benchTable(cmd.OutOrStdout(), rep)
	}
	c.Flags().Float64Var(&scale, "scale", 1, "how many slices to measure, as a factor; 1 takes some 40 s")
	c.Flags().StringVar(&only, "only", "", "measure only what matches this regular expression")
	c.AddCommand(&cobra.Command{
		Use: "peer", Hidden: true, Args: cobra.NoArgs, Short: "The other process of bench",
		RunE: func(*cobra.Command, []string) error { return bench.Peer() },
	})
	return c
}

func runBench(ctx context.Context, base string, scale float64, want *regexp.Regexp) (rep benchReport, err error) {
	self, err := os.Executable()
	if err != nil {
		return rep, err
	}
	progress := func(string, int, int) {}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		progress = func(s string, done, of int) { fmt.Fprintf(os.Stderr, "\r\x1b[K%s: %d of %d", s, done, of) }
		defer fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
	cfg := bench.Config{
		Dir: base, Slice: 10 * time.Millisecond, Scale: scale, Progress: progress, Peer: []string{self, "bench", "peer"},
		Only: func(c bench.Case) bool { return want.MatchString(c.Name) },
	}
	others, err := bench.Others()
	if err != nil {
		return rep, err
	}
	rep.Results, err = bench.Run(ctx, cfg)
	if err != nil {
		return rep, err
	}
	all, locks, crew := want.String() == "", want.String() == "" || want.String() == "lock", bench.CrewMeasures(want)
	dir := ""
	if locks || crew {
		if dir, err = os.MkdirTemp(base, "shiplap-bench-"); err != nil {
			return rep, err
		}
		defer os.RemoveAll(dir)
	}
	if crew {
		results, err := bench.Crew(ctx, cfg, dir, want)
		if err != nil {
			return rep, err
		}
		rep.Results = append(rep.Results, results...)
	}
	if locks {
		results, err := bench.Locks(ctx, cfg, dir, func(s string) { fmt.Fprintln(os.Stderr, s) })
		if err != nil {
			return rep, err
		}
		rep.Results = append(rep.Results, results...)
	}
	if all {
		progress("calls and idling", 0, 1)
		results, err := bench.Calls(ctx, dir, time.Duration(float64(2*time.Second)*min(scale, 1)))
		if err != nil {
			return rep, err
		}
		rep.Results = append(rep.Results, results...)
	}
	if len(rep.Results) == 0 {
		return rep, errors.New("nothing matches --only; run shiplap bench --help")
	}
	rep.Goals = bench.Judge(rep.Results)
	rep.Others, err = others()
	return rep, err
}

func benchTable(w io.Writer, rep benchReport) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	section := ""
	cell := func(f *bench.Figures, unit string) string {
		if f == nil {
			return "-"
		}
		return fmt.Sprintf("%s (%d)", bench.Format(f.Median, unit), f.Slices)
	}
	for _, r := range rep.Results {
		if r.Section != section {
			section = r.Section
			fmt.Fprintf(t, "\n%s\tmedian\tmin\tmax\tp99\tnear (slices)\tfar (slices)\n", section)
		}
		p99 := "-"
		if r.All.P99 > 0 {
			p99 = bench.Format(r.All.P99, r.Unit)
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, bench.Format(r.All.Median, r.Unit), bench.Format(r.All.Min, r.Unit),
			bench.Format(r.All.Max, r.Unit), p99, cell(r.Near, r.Unit), cell(r.Far, r.Unit))
	}
	if len(rep.Goals) > 0 {
		fmt.Fprintf(t, "\nfigure\tslices\tvalue\tbeside\treference\tratio\tneeded\t\n")
	}
	for _, g := range rep.Goals {
		met, ratio, ref := "met", "-", "-"
		if !g.Met {
			met = "MISSED"
		}
		if g.Beside != "" {
			ratio, ref = fmt.Sprintf("%.2f", g.Ratio), bench.Format(g.Ref, g.Unit)
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", g.Figure, g.Place, bench.Format(g.Value, g.Unit), g.Beside, ref, ratio, g.Need, met)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if rep.Others > muchElse {
		_, err := fmt.Fprintf(w, "\nOther processes took %.0f %% of this machine meanwhile. These figures mean little.\n", 100*rep.Others)
		return err
	}
	return nil
}
