package racetest

import (
	"slices"
)

// Scene is one way to use one kind of object.
type Scene struct {
	Name      string                // kind, and what happens to it: "mutex storm"
	Removable bool                  // its object can be removed and made again, and its directory deleted
	run       func(b *bout) error   // in the supervisor
	play      func(w *worker) error // in each worker
}

// scenes are added to by the files of the kinds, when the program starts.
var scenes []Scene

func sceneNamed(name string) (Scene, bool) {
	i := slices.IndexFunc(scenes, func(s Scene) bool { return s.Name == name })
	if i < 0 {
		return Scene{}, false
	}
	return scenes[i], true
}
