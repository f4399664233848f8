//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

type report struct {
	Machine  machine   `json:"machine"`
	Load     string    `json:"load"`
	Duration string    `json:"duration"`
	Missing  []lackOf  `json:"missing"`
	Results  []result  `json:"results"`
	Goals    []goal    `json:"goals"`
	Checks   []checkOf `json:"checks"`
}

type lackOf struct {
	Store   string `json:"store"`
	What    string `json:"what"`
	Install string `json:"install"`
}

type checkOf struct {
	Store string `json:"store"`
	checked
}

// result is one store under one mix.
type result struct {
	Store  string   `json:"store"`
	Title  string   `json:"title"`
	Mix    string   `json:"mix"`
	All    figures  `json:"all"`
	Quiet  *figures `json:"quiet"` // of the rounds that nobody disturbed; null without one
	Rounds []round  `json:"rounds"`
}

// figures are of rates, in operations a second.
type figures struct {
	Rounds int     `json:"rounds"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// goal is how many times as fast as another store ours has to be.
type goal struct {
	Mix    string  `json:"mix"`
	Beside string  `json:"beside"`
	Need   float64 `json:"need"`
	Ratio  float64 `json:"ratio"` // of medians
	Rounds string  `json:"rounds"`
	Met    bool    `json:"met"`
}

var goals = []struct {
	beside string
	mix    mix
	need   float64
}{
	{"redis", 95, 20},
	{"lmdb", 95, 4},
	{"lmdb", 50, 6},
}

func newReport(cfg config) *report {
	how := "Zipf 0.99"
	if cfg.uniform {
		how = "uniform"
	}
	return &report{
		Machine: thisMachine(), Duration: cfg.duration.String(), Missing: []lackOf{}, Goals: []goal{},
		Load: fmt.Sprintf("%d client processes, %d keys of %d B, values of %d B, keys drawn: %s", clients, nKeys, keyLen, valueLen, how),
	}
}

func figuresOf(all []round) *figures {
	if len(all) == 0 {
		return nil
	}
	var v []float64
	for _, r := range all {
		v = append(v, r.Rate)
	}
	slices.Sort(v)
	return &figures{len(v), v[len(v)/2], v[0], v[len(v)-1]}
}

func (rep *report) add(r *running) {
	for _, m := range mixes {
		all := r.rounds[m]
		quiet := slices.DeleteFunc(slices.Clone(all), func(x round) bool { return !x.quiet() })
		rep.Results = append(rep.Results, result{r.name, r.title, m.String(), *figuresOf(all), figuresOf(quiet), all})
	}
	for _, c := range r.checks {
		rep.Checks = append(rep.Checks, checkOf{r.name, c})
	}
}

func (rep *report) find(store string, m mix) *result {
	i := slices.IndexFunc(rep.Results, func(r result) bool { return r.Store == store && r.Mix == m.String() })
	if i < 0 {
		return nil
	}
	return &rep.Results[i]
}

const enough = 3 // rounds

// judge compares quiet rounds with quiet ones where there are enough of both, else all with all.
func (rep *report) judge() {
	for _, g := range goals {
		own, other := rep.find("shiplap", g.mix), rep.find(g.beside, g.mix)
		if own == nil || other == nil {
			continue
		}
		a, b, which := own.All, other.All, "all"
		if own.Quiet != nil && other.Quiet != nil && min(own.Quiet.Rounds, other.Quiet.Rounds) >= enough {
			a, b, which = *own.Quiet, *other.Quiet, "quiet"
		}
		ratio := a.Median / b.Median
		rep.Goals = append(rep.Goals, goal{g.mix.String(), g.beside, g.need, ratio, which, ratio >= g.need})
	}
}

func (rep *report) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	mega := func(v float64) string { return fmt.Sprintf("%.3g", v/1e6) }
	fmt.Fprintf(w, "%s\n%d × %s, Linux %s, load %s\n", rep.Load, rep.Machine.CPUs, rep.Machine.CPU, rep.Machine.Kernel, rep.Machine.Load)
	busy := false
	for _, m := range mixes {
		fmt.Fprintf(t, "\n%v reads/writes, M/s\tmedian\tmin\tmax\trounds\tmedian of quiet rounds\tthese\n", m)
		for _, s := range sides {
			r := rep.find(s.name, m)
			if r == nil {
				continue
			}
			quiet, n := "-", 0
			if r.Quiet != nil {
				quiet, n = mega(r.Quiet.Median), r.Quiet.Rounds
			}
			busy = busy || n < min(enough, r.All.Rounds)
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%d\t%s\t%d\n", r.Title, mega(r.All.Median), mega(r.All.Min), mega(r.All.Max), r.All.Rounds, quiet, n)
		}
	}
	if len(rep.Goals) > 0 {
		fmt.Fprint(t, "\nShiplap beside\tmix\tratio\tneeded\trounds\t\n")
	}
	for _, g := range rep.Goals {
		met := "met"
		if !g.Met {
			met = "MISSED"
		}
		fmt.Fprintf(t, "  %s\t%s\t%.2f ×\t≥ %g ×\t%s\t%s\n", g.Beside, g.Mix, g.Ratio, g.Need, g.Rounds, met)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, l := range rep.Missing {
		fmt.Fprintf(w, "\nnot measured: %s, since %s is missing; to install it: %s\n", l.Store, l.What, l.Install)
	}
	if busy {
		fmt.Fprint(w, "\nOther processes took much of the machine. These figures mean little.\n")
	}
	return nil
}
