//go:build linux

package bench

import (
	"fmt"
	"math"
)

// Goal is a figure beside what it has to reach.
type Goal struct {
	Figure string  `json:"figure"`
	Place  string  `json:"place"` // "near", "far" or "all": the slices that were compared
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Beside string  `json:"beside,omitempty"` // what it is compared with
	Ref    float64 `json:"reference,omitempty"`
	Ratio  float64 `json:"ratio,omitempty"`
	Need   string  `json:"need"`
	Met    bool    `json:"met"`
}

// goal says how a figure is judged: its ratio to another one, or its value, against a bound.
type goal struct {
	name, beside string
	bound        float64
	atMost       bool
	value        bool // the bound is for the value, in its unit
}

var goals = []goal{
	{name: "shiplap queue, exclusive handles", beside: "limit: a cache line each way", bound: 2, atMost: true},
	{name: "shiplap queue, busy machine", beside: "unix socket, busy machine", bound: 1.5, atMost: true},
	{name: "shiplap queue, sleeping", beside: "limit: raw futex", bound: 1.3, atMost: true},
	{name: "shiplap queue, sleeping, one processor", beside: "limit: raw futex, one processor", bound: 1.3, atMost: true},
	{name: "shiplap queue, exclusive handles, 64 B", bound: 25e6, value: true},
	{name: "shiplap queue, exclusive handles, 64 B", beside: "Go channel between goroutines", bound: 5},
	{name: "shiplap queue, exclusive handles, 64 B", beside: "Go channel without a buffer", bound: 5},
	{name: "shiplap queue, exclusive handles, 64 B, 16 at a time", beside: "Go channel between goroutines", bound: 5},
	{name: "shiplap queue, shared handles, 16 at a time", bound: 10e6, value: true},
	{name: "shiplap queue, shared handles, one by one", bound: 5e6, value: true},
	{name: "shiplap pipe, stream", beside: "limit: copy in, copy out", bound: 0.8},
	{name: "shiplap pipe, stream", beside: "unix socket, stream", bound: 3},
	{name: "in place, 1 MiB", beside: "in place, 1 KiB", bound: 1.2, atMost: true},
	{name: "join a domain and leave it", bound: 300e3, atMost: true, value: true},
	{name: "open an existing queue and close it", bound: 100e3, atMost: true, value: true},
	{name: "allocations of put and get, exclusive and shared", bound: 0, atMost: true, value: true},
	{name: "CPU while a process is blocked on a queue", bound: 0.05, atMost: true, value: true},
	{name: mutexAlone, beside: pthreadAlone, bound: 1.2, atMost: true},
	{name: mutexPair, beside: pthreadPair, bound: 1},
	{name: mutexSlower, bound: 40, value: true},
	{name: takeOverMedian, bound: 20e6, atMost: true, value: true},
	{name: takeOverWorst, bound: 100e6, atMost: true, value: true},
	{name: valueAdd, beside: atomicAdd, bound: 1.2, atMost: true},
	{name: arraySum, beside: sliceSum, bound: 1.05, atMost: true},
	{name: getOne, bound: 6e6, value: true},
	{name: getTwo, beside: getOne, bound: 1.7},
	{name: setOne, bound: 1.5e6, value: true},
	{name: setTwo, beside: setOne, bound: 1},
	{name: watchAbove, bound: 5e3, atMost: true, value: true},
	{name: topicTwo, bound: 5e6, value: true},
	{name: callAwake, beside: tripAwake, bound: 4, atMost: true},
	{name: callAsleep, beside: tripAsleep, bound: 1.5, atMost: true},
	{name: deathSeen, bound: 5e6, atMost: true, value: true},
}

// Judge compares results with what they have to reach, "near" slices with "near" ones where there
// are enough of both, else all with all.
func Judge(results []Result) []Goal {
	by := map[string]Result{}
	for _, r := range results {
		by[r.Name] = r
	}
	var all []Goal
	for _, g := range goals {
		r, ok := by[g.name]
		ref, refOK := by[g.beside]
		if !ok || g.beside != "" && !refOK {
			continue
		}
		out := Goal{Figure: g.name, Unit: r.Unit, Beside: g.beside}
		f, rf, place := alike(r, ref, g.beside != "")
		out.Place, out.Value = place, f.Median
		measured := f.Median
		if !g.value {
			out.Ref = rf.Median
			out.Ratio = f.Median / rf.Median
			measured = out.Ratio
		}
		sign := "≥"
		if out.Met = measured >= g.bound; g.atMost {
			sign, out.Met = "≤", measured <= g.bound
		}
		if g.value {
			out.Need = sign + " " + Format(g.bound, r.Unit)
		} else {
			out.Need = fmt.Sprintf("%s %.1f ×", sign, g.bound)
		}
		all = append(all, out)
	}
	return all
}

const enough = 3 // slices

func alike(r, ref Result, two bool) (f, rf Figures, place string) {
	has := func(x *Figures) bool { return x != nil && x.Slices >= enough }
	switch {
	case has(r.Near) && (!two || has(ref.Near)):
		f, place = *r.Near, "near"
		if two {
			rf = *ref.Near
		}
	case two && has(r.Far) && has(ref.Far):
		f, rf, place = *r.Far, *ref.Far, "far"
	default:
		f, rf, place = r.All, ref.All, "all"
	}
	return f, rf, place
}

// Format writes a figure for people.
func Format(v float64, unit string) string {
	switch unit {
	case "ns":
		switch size := math.Abs(v); {
		case size >= 1e6:
			return fmt.Sprintf("%.2f ms", v/1e6)
		case size >= 1e3:
			return fmt.Sprintf("%.1f µs", v/1e3)
		}
		return fmt.Sprintf("%.0f ns", v)
	case "B/s":
		return fmt.Sprintf("%.2f GB/s", v/1e9)
	case "1/s":
		return fmt.Sprintf("%.2f M/s", v/1e6)
	case "%":
		return fmt.Sprintf("%.2f %%", v)
	}
	return fmt.Sprintf("%g", v)
}
