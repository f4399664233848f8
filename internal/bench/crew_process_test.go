package bench

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"testing"
)

// Every figure of a crew is measured, between real processes; how large it is, is not asserted.
func TestCrew(t *testing.T) {
	t.Setenv(envTestPeer, "1")
	cfg := Config{Scale: 0.01, Peer: []string{"/proc/self/exe"}, Progress: func(string, int, int) {}}
	results, err := Crew(t.Context(), cfg, t.TempDir(), regexp.MustCompile(""))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range results {
		names = append(names, r.Name)
		if r.All.Slices < 3 || r.Unit == "1/s" && r.All.Min <= 0 {
			t.Errorf("%+v", r)
		}
	}
	for _, want := range []string{getOne, getTwo, setOne, setTwo, queueHears, watchHears, watchAbove, topicOne, topicTwo,
		tripAwake, callAwake, tripAsleep, callAsleep, deathSeen, childAgain} {
		if !slices.Contains(names, want) {
			t.Errorf("there is no figure %q", want)
		}
	}
	if got := len(Judge(results)); got != 9 {
		t.Errorf("%d goals are judged; 9 are wanted", got)
	}
}

func TestCrewStops(t *testing.T) {
	t.Setenv(envTestPeer, "1")
	ctx, cancel := context.WithCancel(t.Context())
	cfg := Config{Scale: 100, Peer: []string{"/proc/self/exe"}, Progress: func(string, int, int) { cancel() }}
	if _, err := Crew(ctx, cfg, t.TempDir(), regexp.MustCompile("watch|rpc")); !errors.Is(err, context.Canceled) {
		t.Errorf("it ends with %v", err)
	}
}

func TestCrewMeasures(t *testing.T) {
	for pattern, want := range map[string]bool{"": true, "store": true, "^proc$": true, "watch|limit": true, "lock": false, "queue|limit": false} {
		if got := CrewMeasures(regexp.MustCompile(pattern)); got != want {
			t.Errorf("%q: %v", pattern, got)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, tt := range []struct {
		v    float64
		unit string
		want string
	}{{-1_500, "ns", "-1.5 µs"}, {999, "ns", "999 ns"}, {2.5e6, "ns", "2.50 ms"}, {6e6, "1/s", "6.00 M/s"}} {
		if got := Format(tt.v, tt.unit); got != tt.want {
			t.Errorf("%v %s is written %q; %q is wanted", tt.v, tt.unit, got, tt.want)
		}
	}
}

func TestOthers(t *testing.T) {
	others, err := Others()
	if err != nil {
		t.Fatal(err)
	}
	if share, err := others(); err != nil || share < 0 {
		t.Errorf("others took %g of the machine, %v", share, err)
	}
	if all, busy, err := MachineTime(); err != nil || busy <= 0 || busy > all {
		t.Errorf("busy for %v of %v, %v", busy, all, err)
	}
}
