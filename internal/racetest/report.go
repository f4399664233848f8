package racetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Violation is something that must not happen.
type Violation struct {
	Scene   string `json:"scene"`
	Seed    uint64 `json:"seed"`
	Weather string `json:"weather"`
	Kind    string `json:"kind"` // "two owners", "robbed", "hang" …
	Text    string `json:"text"`
	Detail  string `json:"detail,omitempty"` // stacks
}

// String is the violation and how to see it again.
func (v Violation) String() string {
	s := fmt.Sprintf("%s: %s: %s\n    again, with luck: -only '^%s$' -seed %d (%s)", v.Scene, v.Kind, v.Text,
		v.Scene, v.Seed, v.Weather)
	if v.Detail != "" {
		s += "\n" + v.Detail
	}
	return s
}

// Delays is how long waits lasted after what ended them.
type Delays struct {
	Count  int           `json:"count"`
	Late   int           `json:"late"` // more than 100 ms
	Worst  time.Duration `json:"worst"`
	counts [64]int       // by power of two, in nanoseconds
}

// Add adds what others counted.
func (d *Delays) Add(o *Delays) {
	d.Count += o.Count
	d.Late += o.Late
	d.Worst = max(d.Worst, o.Worst)
	for i, n := range o.counts {
		d.counts[i] += n
	}
}

func (d *Delays) add(t time.Duration) {
	t = max(t, 0)
	d.Count++
	if t > 100*time.Millisecond {
		d.Late++
	}
	d.Worst = max(d.Worst, t)
	d.counts[bits.Len64(uint64(t))]++
}

// String says how many there were, and below what half, 90 and 99 of a hundred were.
func (d *Delays) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", d.Count)
	for _, q := range []int{50, 90, 99} {
		n := 0
		for i, c := range d.counts {
			if n += c; n*100 >= d.Count*q {
				fmt.Fprintf(&b, ", %d%% < %v", q, roughly(time.Duration(1)<<i))
				break
			}
		}
	}
	fmt.Fprintf(&b, ", worst %v, %d later than 100ms", roughly(d.Worst), d.Late)
	return b.String()
}

func roughly(d time.Duration) time.Duration {
	switch {
	case d > 100*time.Millisecond:
		return d.Round(10 * time.Millisecond)
	case d > time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

// Tally is what was done in one scene.
type Tally struct {
	Scene  string             `json:"scene"`
	Bouts  int                `json:"bouts"`
	Counts map[string]uint64  `json:"counts"`
	Delays map[string]*Delays `json:"delays,omitempty"` // by what ended the waits
}

// Run runs scenes and counts.
type Run struct {
	Dir     string         // where the domains and ledgers lie, on a tmpfs; empty means /dev/shm
	Seed    uint64         // of the first bout; the others follow
	Only    *regexp.Regexp // names of scenes; nil means all
	Bound   time.Duration  // what no call may exceed; 0 means DefaultBound
	Weather *Weather       // of all bouts; nil means a random one for each
	Without []string       // harms, and ways in which waits end, that are left out
	Harms   int            // how often harm is done in a bout; 0 means DefaultHarms
	Log     io.Writer      // gets each violation at once; nil means nobody

	mu         sync.Mutex
	tallies    map[string]*Tally
	violations []Violation
}

const (
	// DefaultBound is far beyond any promise: what exceeds it hangs, on however loaded a machine.
	DefaultBound = 5 * time.Second
	// DefaultHarms makes a bout last about a second.
	DefaultHarms = 30
)

// Choose chooses the scenes whose names match a regular expression.
func (r *Run) Choose(pattern string) (err error) {
	r.Only, err = regexp.Compile(pattern)
	return err
}

// Scenes are the names of the scenes that are chosen.
func (r *Run) Scenes() (names []string) {
	for _, s := range scenes {
		if r.Only == nil || r.Only.MatchString(s.Name) {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Bout runs the scene of that name once. An error says that it could not be run; violations are
// counted.
func (r *Run) Bout(ctx context.Context, scene string, seed uint64) error {
	s, ok := sceneNamed(scene)
	if !ok {
		return fmt.Errorf("no scene %q", scene)
	}
	if r.Dir == "" {
		r.Dir = "/dev/shm"
	}
	r.Bound = cmp.Or(r.Bound, DefaultBound)
	r.Harms = cmp.Or(r.Harms, DefaultHarms)
	err := r.bout(ctx, s, seed)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("scene %s, seed %d: %w", scene, seed, err)
	}
	return nil
}

func (r *Run) tally(scene string) *Tally {
	if r.tallies == nil {
		r.tallies = map[string]*Tally{}
	}
	t := r.tallies[scene]
	if t == nil {
		t = &Tally{Scene: scene, Counts: map[string]uint64{}, Delays: map[string]*Delays{}}
		r.tallies[scene] = t
	}
	return t
}

func (r *Run) begin(b *bout) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally(b.scene).Bouts++
}

func (b *bout) count(what string, n uint64) {
	b.Run.mu.Lock()
	defer b.Run.mu.Unlock()
	b.tally(b.scene).Counts[what] += n
}

func (b *bout) delay(way string, d time.Duration) {
	b.Run.mu.Lock()
	defer b.Run.mu.Unlock()
	t := b.tally(b.scene)
	if t.Delays[way] == nil {
		t.Delays[way] = new(Delays)
	}
	t.Delays[way].add(d)
}

func (b *bout) violation(kind, text, detail string) {
	if b.ctx.Err() != nil {
		return // what is cut short proves nothing
	}
	v := Violation{b.scene, b.seed, b.weather.String(), kind, text, detail}
	b.Run.mu.Lock()
	defer b.Run.mu.Unlock()
	b.violations = append(b.violations, v)
	if b.said[kind]++; b.Log != nil && b.said[kind] <= 2 {
		fmt.Fprintln(b.Log, v)
	}
}

// violationf is violation without stacks.
func (b *bout) violationf(kind, format string, a ...any) {
	b.violation(kind, fmt.Sprintf(format, a...), "")
}

// Violations are those found so far.
func (r *Run) Violations() []Violation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.violations)
}

// Tallies are what was done so far, by name of the scene.
func (r *Run) Tallies() (all []Tally) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.tallies {
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b Tally) int { return cmp.Compare(a.Scene, b.Scene) })
	return all
}

// Load is the load of the machine, as the kernel says it.
func Load() string {
	f := loadavg()
	if len(f) == 0 {
		return "unknown"
	}
	return strings.Join(f[:min(3, len(f))], " ")
}

// runnable is how many threads of the machine run or want to, at this moment.
func runnable() int {
	if f := loadavg(); len(f) > 3 {
		now, _, _ := strings.Cut(f[3], "/")
		n, _ := strconv.Atoi(now)
		return n
	}
	return 0
}

func loadavg() []string {
	b, _ := os.ReadFile("/proc/loadavg")
	return strings.Fields(string(b))
}
