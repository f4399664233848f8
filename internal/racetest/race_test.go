package racetest

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

// TestMain is worker or test run; the latter must leave nothing behind.
func TestMain(m *testing.M) {
	Main()
	leaktest.Main(m)
}

// TestScenes is the short form: each scene once, in some weather.
func TestScenes(t *testing.T) {
	harms := 10
	if testing.Short() {
		harms = 6
	}
	for _, s := range (&Run{}).Scenes() {
		t.Run(s, func(t *testing.T) {
			r := &Run{Dir: os.TempDir(), Harms: harms}
			if err := r.Bout(t.Context(), s, rand.Uint64()); err != nil {
				t.Fatal(err)
			}
			for _, v := range r.Violations() {
				t.Error(v)
			}
			for _, c := range r.Tallies() {
				t.Log(c)
			}
		})
	}
}

// TestLossIsTold: whoever waits hears within a second that files are lost. On a busy machine
// anything may be late once; what has a reason is late each time.
func TestLossIsTold(t *testing.T) {
	var worst time.Duration
	for range 5 {
		r := &Run{Dir: os.TempDir()}
		if err := r.Bout(t.Context(), "lost files", rand.Uint64()); err != nil {
			t.Fatal(err)
		}
		worst = 0
		for _, d := range r.Tallies()[0].Delays {
			worst = max(worst, d.Worst)
		}
		t.Logf("the last one was told after %v", worst)
		for _, v := range r.Violations() {
			t.Error(v)
		}
		if worst <= time.Second || t.Failed() {
			return
		}
	}
	t.Errorf("it never took less than a second; last %v", worst)
}
