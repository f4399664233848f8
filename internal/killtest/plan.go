package killtest

import (
	"math"
	"slices"
	"time"
)

// essential returns the steps to stop at in any case: the start, right before and right after each effect, the end,
// and one beyond. The others are the rest, both ascending.
func essential(steps int, effects []int) (points, others []int) {
	wanted := make([]bool, steps+2)
	wanted[0], wanted[steps], wanted[steps+1] = true, true, true
	for _, k := range effects {
		wanted[k], wanted[k+1] = true, true
	}
	for k, w := range wanted {
		if w {
			points = append(points, k)
		} else {
			others = append(others, k)
		}
	}
	return points, others
}

// strideFor returns the smallest stride at which n trials of the given cost fit into the time that is left.
func strideFor(n int, cost, left time.Duration) int {
	if n == 0 || cost <= 0 {
		return 1
	}
	affordable := max(1, int(left/cost))
	return max(1, int(math.Ceil(float64(n)/float64(affordable))))
}

// every keeps the elements that stride and phase choose, by their position in the list.
func every[T any](list []T, stride, phase int) []T {
	if stride <= 1 {
		return list
	}
	var kept []T
	for i := phase % stride; i < len(list); i += stride {
		kept = append(kept, list[i])
	}
	return kept
}

// spread keeps at most n elements, evenly.
func spread[T any](list []T, n int) []T {
	if len(list) <= n {
		return list
	}
	kept := make([]T, 0, n)
	for i := range n {
		kept = append(kept, list[i*len(list)/n])
	}
	return kept
}

// deathsOf returns where a first victim dies so that it leaves each state it can leave: untouched, and after each
// effect.
func deathsOf(effects []int) []int {
	points := []int{0}
	for _, k := range effects {
		points = append(points, k+1)
	}
	return slices.Compact(points)
}

// split takes a sample of at most n elements out of a list.
func split[T any](list []T, n int) (sample, rest []T) {
	stride := (len(list) + n - 1) / n
	for i, v := range list {
		if i%stride == 0 {
			sample = append(sample, v)
		} else {
			rest = append(rest, v)
		}
	}
	return sample, rest
}
