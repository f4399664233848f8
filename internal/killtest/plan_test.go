package killtest

import (
	"slices"
	"testing"
	"time"
)

func TestEssential(t *testing.T) {
	points, others := essential(10, []int{4, 5})
	if !slices.Equal(points, []int{0, 4, 5, 6, 10, 11}) || !slices.Equal(others, []int{1, 2, 3, 7, 8, 9}) {
		t.Errorf("%v, %v", points, others)
	}
	if got := deathsOf([]int{4, 5}); !slices.Equal(got, []int{0, 5, 6}) {
		t.Errorf("deaths at %v", got)
	}
}

// TestPhasesCoverAll: over a whole turn of the phase every element is chosen once.
func TestPhasesCoverAll(t *testing.T) {
	var list, all []int
	for i := range 100 {
		list = append(list, i)
	}
	for phase := 20_000; phase < 20_007; phase++ {
		all = append(all, every(list, 7, phase)...)
	}
	slices.Sort(all)
	if !slices.Equal(all, list) {
		t.Errorf("%v", all)
	}
	if got := every(list, 1000, 5); !slices.Equal(got, []int{5}) {
		t.Errorf("a stride beyond the end keeps %v", got)
	}
}

func TestSampling(t *testing.T) {
	list := []int{1, 2, 3, 4, 5, 6, 7}
	for n := 1; n < 9; n++ {
		sample, rest := split(list, n)
		if len(sample) > n || len(sample) == 0 || len(sample)+len(rest) != len(list) {
			t.Errorf("%d: %v and %v", n, sample, rest)
		}
		if kept := spread(list, n); len(kept) != min(n, len(list)) {
			t.Errorf("%d: %v", n, kept)
		}
	}
	if s, r := split([]int(nil), 4); s != nil || r != nil {
		t.Error(s, r)
	}
}

func TestStride(t *testing.T) {
	for _, c := range []struct {
		n          int
		cost, left time.Duration
		want       int
	}{
		{0, time.Second, time.Second, 1},
		{100, time.Millisecond, time.Second, 1},
		{1000, time.Millisecond, 100 * time.Millisecond, 10},
		{1001, time.Millisecond, 100 * time.Millisecond, 11},
		{1000, time.Millisecond, -time.Second, 1000},
	} {
		if got := strideFor(c.n, c.cost, c.left); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}
