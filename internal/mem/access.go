package mem

// Access is what a hooked operation is about to do (builds with the tag "explore").
type Access uint8

const (
	AccessLoad Access = iota
	AccessStore
	AccessUpdate
	AccessRelease // StoreRelease: visible to others later, unless a fence comes before
	AccessFence   // Heavy, of no word
	AccessFull    // Full, of no word
	AccessPause   // Pause, of no word: nothing to do but look again
)
