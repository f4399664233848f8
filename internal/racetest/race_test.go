package racetest

import (
	"math/rand/v2"
	"os"
	"testing"

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
