package racetest

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/shiplap-ipc/shiplap"
)

// Weather is what happens to the workers of one bout.
type Weather struct {
	Kill   bool `json:"kill"`   // SIGKILL
	Stop   bool `json:"stop"`   // SIGSTOP, and SIGCONT some time later
	Fork   bool `json:"fork"`   // they run other programs all the time
	Exec   bool `json:"exec"`   // they become other programs
	Remove bool `json:"remove"` // the object is removed and made again
	Wipe   bool `json:"wipe"`   // the directory of the domain is deleted
	Stay   bool `json:"stay"`   // they stay members of the domain between cycles

	Wait shiplap.WaitMode `json:"wait"`
}

// String names what is in the weather.
func (w Weather) String() string {
	var all []string
	for _, k := range []struct {
		there bool
		what  string
	}{{w.Kill, "kill"}, {w.Stop, "stop"}, {w.Fork, "fork"}, {w.Exec, "exec"}, {w.Remove, "remove"},
		{w.Wipe, "wipe"}, {w.Stay, "stay"}} {
		if k.there {
			all = append(all, k.what)
		}
	}
	if len(all) == 0 {
		all = []string{"calm"}
	}
	return strings.Join(all, "+")
}

// ParseWeather is the opposite of String: "calm", or names joined by "+".
func ParseWeather(text string) (w Weather, err error) {
	for part := range strings.SplitSeq(text, "+") {
		switch part {
		case "calm":
		case "kill":
			w.Kill = true
		case "stop":
			w.Stop = true
		case "fork":
			w.Fork = true
		case "exec":
			w.Exec = true
		case "remove":
			w.Remove = true
		case "wipe":
			w.Wipe = true
		case "stay":
			w.Stay = true
		default:
			return w, fmt.Errorf("no weather %q; there are calm, kill, stop, fork, exec, remove, wipe, stay",
				part)
		}
	}
	return w, nil
}

// without is the weather with some of it left out.
func (w Weather) without(names []string) Weather {
	for _, n := range names {
		switch n {
		case "kill":
			w.Kill = false
		case "stop":
			w.Stop = false
		case "fork":
			w.Fork = false
		case "exec":
			w.Exec = false
		case "remove":
			w.Remove = false
		case "wipe":
			w.Wipe = false
		}
	}
	return w
}

// deadly reports whether processes die in it, or leave the domain with what they hold.
func (w Weather) deadly() bool { return w.Kill || w.Exec }

// lossy reports whether objects go away with what is in them.
func (w Weather) lossy() bool { return w.Remove || w.Wipe }

// randomWeather is calm at times: then an owner that is said to be dead is a lie.
func randomWeather(rng *rand.Rand, removable bool) Weather {
	w := Weather{Stay: rng.IntN(2) == 0, Wait: []shiplap.WaitMode{
		shiplap.WaitAdaptive, shiplap.WaitAdaptive, shiplap.WaitSpin, shiplap.WaitSleep}[rng.IntN(4)]}
	switch k := rng.IntN(10); {
	case k < 3: // only closing
	case k < 4:
		w.Stop = true
	case k < 9 || !removable:
		w.Kill, w.Stop, w.Fork, w.Exec = rng.IntN(3) > 0, rng.IntN(2) == 0, rng.IntN(3) == 0, rng.IntN(3) == 0
	default:
		w.Remove = rng.IntN(3) > 0
		w.Wipe = !w.Remove
		w.Kill = rng.IntN(2) == 0
	}
	return w
}
